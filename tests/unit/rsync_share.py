"""A share as gx10-share.service serves it, on 127.0.0.1, and a counting relay in front of it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from .host_side import answers, free_port, wait_until

CONFIGURATION = """
address = 127.0.0.1
port = {port}
use chroot = no
read only = yes
list = no
hosts allow = 127.0.0.0/8
[models]
path = {path}
"""
BUFFER = 1 << 15


@contextlib.contextmanager
def serving(directory: Path, kilobytes_per_second: int = 0) -> Iterator[int]:
    """Serve a directory; yields the port."""
    port = free_port()
    configuration = directory.with_name(directory.name + ".share.conf")
    configuration.write_text(CONFIGURATION.format(port=port, path=directory))
    words = ["rsync", "--daemon", "--no-detach", f"--config={configuration}"]
    words += [f"--bwlimit={kilobytes_per_second}"] if kilobytes_per_second else []
    with subprocess.Popen(words, start_new_session=True) as daemon:
        try:
            assert wait_until(lambda: answers(port)), "rsync --daemon did not listen"
            yield port
        finally:
            os.killpg(daemon.pid, signal.SIGKILL)


class Relay:
    """Passes connections on to a port and counts the bytes that come back; can cut them all once."""

    def __init__(self, to: int) -> None:
        self.to, self.sent, self.cut_at = to, 0, 0
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        # Small buffers: what lies in them when a transfer is killed counts as sent, and is sent again.
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self.port = int(self.listener.getsockname()[1])
        self.lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Where to fetch from."""
        return f"rsync://127.0.0.1:{self.port}/models"

    def close(self) -> None:
        """Accept nothing more."""
        self.listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.socket()
                far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
                far.connect(("127.0.0.1", self.to))
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._pass, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self._pass, args=(far, near, True), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(BUFFER):
                if counted and self._cut(len(block)):
                    break
                target.sendall(block)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _cut(self, count: int) -> bool:
        with self.lock:
            self.sent += count
            if self.cut_at and self.sent > self.cut_at:
                self.cut_at = 0
                return True
        return False


@contextlib.contextmanager
def relayed(directory: Path, kilobytes_per_second: int = 0) -> Iterator[Relay]:
    """Serve a directory through a relay."""
    with serving(directory, kilobytes_per_second) as port:
        relay = Relay(port)
        try:
            yield relay
        finally:
            relay.close()

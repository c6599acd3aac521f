"""A share as gx10-share.service serves it, on 127.0.0.1, and a counting relay in front of it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from .host_side import answers, free_port, wait_until, words

BUFFER = 1 << 14


@contextlib.contextmanager
def serving(directory: Path, name: str = "models") -> Iterator[int]:
    """Serve a directory; yields the port."""
    port = free_port()
    arguments = ["--listen", f"127.0.0.1:{port}", "--allow", "127.0.0.0/8", "--directory", f"{name}={directory}"]
    with subprocess.Popen(words("share", *arguments)) as share:
        try:
            assert wait_until(lambda: answers(port)), "the share did not listen"
            yield port
        finally:
            share.kill()


class Relay:
    """Passes connections on to a port and counts the bytes that come back; can cut them all once, and be slow."""

    def __init__(self, to: int, kilobytes_per_second: int = 0) -> None:
        self.to, self.sent, self.cut_at = to, 0, 0
        self.rate, self.due = kilobytes_per_second * 1000, time.monotonic()
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
        return f"http://127.0.0.1:{self.port}/models"

    def close(self) -> None:
        """Accept nothing more, also in a thread that waits for a connection."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
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
                if counted and self.rate:
                    time.sleep(max(0.0, self._turn(len(block)) - time.monotonic()))
                if counted and self._cut(len(block)):
                    break
                target.sendall(block)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _turn(self, count: int) -> float:
        """When a block may pass."""
        with self.lock:
            self.due = max(self.due, time.monotonic()) + count / self.rate
            return self.due

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
    with serving(directory) as port:
        relay = Relay(port, kilobytes_per_second)
        try:
            yield relay
        finally:
            relay.close()

"""An SSH server on loopback whose commands run on this machine: a host as pyinfra and ssh reach it.

Commands read and write as they run, ports are forwarded both ways, and this package's program is the checkout's. Where
a server is given a directory for them, its users are hosts of their own: `/srv/` is each one's below that directory.
`python -m tests.unit.ssh_server DIRECTORY` writes `port`, `key` and `known_hosts` there and serves until it is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

import paramiko
from gx10_host import ENTRY
from typing_extensions import override

from gx10.settings import PROJECT

BLOCK = 1 << 15
LOST = (OSError, EOFError, paramiko.SSHException)
"""What is raised where the other end has gone."""
Address = tuple[str, int]


class Everybody(paramiko.ServerInterface):
    """Lets any key in, runs what it is told, and forwards."""

    def __init__(self, transport: paramiko.Transport, moved: Mapping[Address, Address], hosts: Path | None) -> None:
        self.transport, self.moved, self.hosts = transport, moved, hosts
        self.running: list[subprocess.Popen[bytes]] = []
        self.channels: list[paramiko.Channel] = []
        self.listeners: dict[Address, socket.socket] = {}
        self.ends: dict[int, socket.socket] = {}

    @override
    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    @override
    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.common.AUTH_SUCCESSFUL

    @override
    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.common.OPEN_SUCCEEDED

    @override
    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        text = command.decode().replace(ENTRY, str(PROJECT / f"files{ENTRY}"))
        if self.hosts:
            text = text.replace("/srv/", f"{self.hosts}/{self.transport.get_username()}/srv/")
        running = subprocess.Popen(
            ["sh", "-c", text],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        self.running.append(running)
        threading.Thread(target=_narrated, args=(channel, running), daemon=True).start()
        return True

    @override
    def check_channel_direct_tcpip_request(self, chanid: int, origin: Address, destination: Address) -> int:
        try:
            self.ends[chanid] = socket.create_connection(self.moved.get(destination, destination), timeout=5)
        except OSError:
            return paramiko.common.OPEN_FAILED_CONNECT_FAILED
        self.ends[chanid].settimeout(None)
        return paramiko.common.OPEN_SUCCEEDED

    @override
    def check_port_forward_request(self, address: str, port: int) -> int:
        try:
            listener = self.listeners[address, port] = socket.create_server((address, port))
        except OSError:
            return 0
        threading.Thread(target=self._forward_back, args=(listener,), daemon=True).start()
        return port

    def _forward_back(self, listener: socket.socket) -> None:
        """Lead each connection to a port here to whoever asked for it."""
        with contextlib.suppress(*LOST):
            while True:
                near, peer = listener.accept()
                channel = self.transport.open_forwarded_tcpip_channel(peer, listener.getsockname())
                _join(channel, near)

    def serve(self) -> None:
        """Join forwarded channels to their ends until the connection has ended."""
        while self.transport.is_active():
            if channel := self.transport.accept(1):
                self.channels.append(channel)  # One that nobody holds is closed.
                if channel.chanid in self.ends:
                    _join(channel, self.ends.pop(channel.chanid))
        for listener in self.listeners.values():
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()


def _join(channel: paramiko.Channel, end: socket.socket) -> None:
    """Pass on what comes on either side to the other."""
    for source, target in ((channel, end), (end, channel)):
        threading.Thread(target=_pass, args=(source, target), daemon=True).start()


def _pass(source: socket.socket | paramiko.Channel, target: socket.socket | paramiko.Channel) -> None:
    with contextlib.suppress(*LOST):
        while block := source.recv(BLOCK):
            target.sendall(block)
    for end in (source, target):
        with contextlib.suppress(*LOST):
            end.shutdown(2)
        with contextlib.suppress(*LOST):
            end.close()


def _narrated(channel: paramiko.Channel, running: subprocess.Popen[bytes]) -> None:
    """Give a command what comes for it, and pass on what it prints and how it ends."""
    pumps = [
        threading.Thread(target=_told, args=(running.stdout, channel.sendall), daemon=True),
        threading.Thread(target=_told, args=(running.stderr, channel.sendall_stderr), daemon=True),
    ]
    threading.Thread(target=_fed, args=(channel, running.stdin), daemon=True).start()
    for pump in pumps:
        pump.start()
    for pump in pumps:
        pump.join()
    status = running.wait()
    with contextlib.suppress(*LOST):
        channel.send_exit_status(status if status >= 0 else 128 - status)
        channel.close()


def _told(pipe: IO[bytes], send: Callable[[bytes], object]) -> None:
    """Pass on what a command prints; one that nobody listens to any more finds its pipe closed."""
    with pipe, contextlib.suppress(*LOST):
        while block := pipe.read(BLOCK):
            send(block)


def _fed(channel: paramiko.Channel, pipe: IO[bytes]) -> None:
    """Give a command what comes for it."""
    with contextlib.suppress(*LOST, ValueError), pipe:  # ValueError: the command has ended
        while block := channel.recv(BLOCK):
            pipe.write(block)


class Server:
    """A host of that kind, or several in a directory `hosts`; `moved` says which address stands for another that a
    client wants to be led to."""

    def __init__(
        self, directory: Path, moved: Mapping[Address, Address] | None = None, hosts: Path | None = None
    ) -> None:
        self.moved, self.hosts = moved or {}, hosts
        self.key = paramiko.ECDSAKey.generate()
        self.connections: list[Everybody] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        key = directory / "key"
        key.unlink(missing_ok=True)
        self.key.write_private_key_file(str(key))
        line = f"[127.0.0.1]:{self.port} {self.key.get_name()} {self.key.get_base64()}\n"
        (directory / "known_hosts").write_text(line)
        (directory / "port.partial").write_text(str(self.port))
        (directory / "port.partial").rename(directory / "port")

    def serve(self) -> None:
        """Serve until the listener is closed."""
        with contextlib.suppress(OSError):
            while True:
                transport = paramiko.Transport(self.listener.accept()[0])
                transport.add_server_key(self.key)
                server = Everybody(transport, self.moved, self.hosts)
                with contextlib.suppress(*LOST):
                    transport.start_server(server=server)
                    self.connections.append(server)
                    threading.Thread(target=server.serve, daemon=True).start()

    def cut(self) -> None:
        """End every connection and all that runs, as a host that loses its power."""
        for connection in self.connections:
            connection.transport.close()
            for running in connection.running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(running.pid, signal.SIGKILL)


@contextlib.contextmanager
def reachable(
    directory: Path, moved: Mapping[Address, Address] | None = None, hosts: Path | None = None
) -> Iterator[Server]:
    """Serve beside a test."""
    server = Server(directory, moved, hosts)
    threading.Thread(target=server.serve, daemon=True).start()
    try:
        yield server
    finally:
        server.cut()
        with contextlib.suppress(OSError):
            server.listener.shutdown(socket.SHUT_RDWR)
        server.listener.close()


if __name__ == "__main__":
    Server(Path(sys.argv[1])).serve()

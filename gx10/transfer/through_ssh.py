"""Bulk between this node and a host, in either direction: one end shares a directory, the other fetches from it.

It is the hosts' own share and fetch, led through an ssh connection. A manifest, which came over ssh itself, says what
shall stand; the receiver takes what it lacks of that, goes on where an earlier attempt stopped, and gives each file its
name when its hash is right. Nothing that a tunnel carries is trusted.
"""

from __future__ import annotations

import contextlib
import secrets
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO
from urllib.parse import urlsplit

from gx10_host import ENTRY

from gx10.access.remote import UNREACHABLE, failed_because
from gx10.settings import PROJECT

from . import offer

HERE = (sys.executable, str(PROJECT / f"files{ENTRY}"))
"""The hosts' own program on this node."""
LOOPBACK = "127.0.0.1"
OWN_CONNECTION = ("-S", "none", "-o", "ExitOnForwardFailure=yes")
"""A connection that is shared with nobody, so that what is forwarded ends with it."""


class TransferError(Exception):
    """Content that could not be moved or trusted; a sentence for the operator."""


@dataclass(frozen=True)
class Remote:
    """A host, and the ssh command that logs in to it."""

    name: str
    ssh: Sequence[str]

    def words(self, command: Sequence[str], *options: str) -> list[str]:
        """A command on the host, over a connection of its own with these options."""
        return [self.ssh[0], *OWN_CONNECTION, *options, *self.ssh[1:], shlex.join(command)]


@dataclass(frozen=True)
class Content:
    """What shall stand in a directory: the text of its manifest, and the file in which that is kept there."""

    manifest: bytes
    kept_as: str

    def fetched(self, url: str, target: str) -> list[str]:
        """The fetch that completes a directory from a share; it takes the manifest from its standard input."""
        return ["content", "fetch", "--url", url, "--manifest", self.kept_as, "--to", target, "--given"]


def send(content: Content, source: Path, host: Remote, target: str, tell: Callable[[str], None]) -> None:
    """Have a host complete its directory `target` from `source` on this node; raises TransferError."""
    with _offered(source) as port:
        far = _far_port()
        fetch = [ENTRY, *content.fetched(f"http://{LOOPBACK}:{far}/{offer.NAME}", target)]
        words = host.words(fetch, "-R", f"{LOOPBACK}:{far}:{LOOPBACK}:{port}")
        status, errors = narrated(words, content.manifest, tell)
    if status:
        raise TransferError(_failed(host, fetch, status, errors))


def receive(content: Content, url: str, host: Remote, target: Path, tell: Callable[[str], None]) -> None:
    """Complete the directory `target` on this node from the share of a host at `url`; raises TransferError."""
    with _tunnel(host, urlsplit(url).netloc) as tunnel:
        fetch = content.fetched(f"http://{LOOPBACK}:{tunnel.port}{urlsplit(url).path}", str(target))
        status, errors = narrated([*HERE, *fetch], content.manifest, tell)
        if status:
            tunnel.check()
            raise TransferError(f"control node: {failed_because(HERE, status, errors)}{tunnel.remarks()}")


def narrated(words: Sequence[str], given: bytes, tell: Callable[[str], None]) -> tuple[int, str]:
    """Run a command with what it reads, and tell what it prints; its exit status, and its errors."""
    with TemporaryFile() as stdin, TemporaryFile() as errors:
        stdin.write(given)
        stdin.seek(0)
        with subprocess.Popen(
            words, stdin=stdin, stdout=subprocess.PIPE, stderr=errors, text=True, errors="replace"
        ) as running:
            for line in running.stdout or ():
                tell(line.rstrip())
        return running.returncode, _read(errors)


@contextlib.contextmanager
def _offered(source: Path) -> Iterator[int]:
    """Share a directory on a port of this node's loopback."""
    words = [sys.executable, "-m", offer.__name__, str(source.absolute())]
    # Its standard input is this process: it ends with it.
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=PROJECT) as share:
        try:
            yield _port_of(share, source)
        finally:
            share.terminate()


def _port_of(share: subprocess.Popen[bytes], source: Path) -> int:
    line = share.stdout.readline() if share.stdout else b""
    if not line.strip().isdigit():
        raise TransferError(f"control node: {source} cannot be shared: the share ended with {share.wait()}.")
    return int(line)


@dataclass(frozen=True)
class Tunnel:
    """A port of this node's loopback that leads through ssh to a port that a host reaches."""

    host: Remote
    port: int
    ssh: subprocess.Popen[bytes]
    errors: IO[bytes]

    def check(self) -> None:
        """Raise TransferError where the connection has ended."""
        if (status := self.ssh.poll()) is not None:
            raise TransferError(_failed(self.host, ["cat"], status or UNREACHABLE, _read(self.errors)))

    def remarks(self) -> str:
        """What ssh has to say of a connection that stands, as a sentence to add."""
        said = " ".join(_read(self.errors).split())
        return f" ssh to {self.host.name} says: {said}" if said else ""


@contextlib.contextmanager
def _tunnel(host: Remote, end: str) -> Iterator[Tunnel]:
    """Lead a port of this node to ADDRESS:PORT as the host reaches it."""
    near = _free_port()
    words = host.words(["cat"], "-L", f"{LOOPBACK}:{near}:{end}")
    # The far end reads this process and ends with it, as `ssh -N` would not.
    with (
        TemporaryFile() as errors,
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors) as ssh,
    ):
        try:
            tunnel = Tunnel(host, near, ssh, errors)
            _wait_for_echo(tunnel)
            yield tunnel
        finally:
            ssh.terminate()


def _wait_for_echo(tunnel: Tunnel) -> None:
    """Return when the host answers, which it does through a connection that forwards already."""
    ssh = tunnel.ssh
    if ssh.stdin and ssh.stdout:
        with contextlib.suppress(BrokenPipeError):
            ssh.stdin.write(b"\n")
            ssh.stdin.flush()
        if not ssh.stdout.readline():
            ssh.wait()
    tunnel.check()


def _failed(host: Remote, command: Sequence[str], status: int, errors: str) -> str:
    """Why a command of a transfer failed on a host."""
    reason = f"{host.name}: {failed_because(command, status, errors)}"
    if status != UNREACHABLE:
        return reason
    if "forwarding failed" in errors:
        reason += " (its sshd must allow ssh to forward ports: AllowTcpForwarding)"
    return f"{reason}. The next run resumes."


def _read(spool: IO[bytes]) -> str:
    spool.seek(0)
    return spool.read().decode(errors="replace").strip()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _far_port() -> int:
    """A port for the host's end of a tunnel, from the range that Linux gives to nobody by itself."""
    return 28000 + secrets.randbelow(4000)

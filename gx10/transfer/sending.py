"""Weights from a directory on the control node to a host, through the ssh connection that leads to it."""

from __future__ import annotations

import contextlib
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from gx10_host import ENTRY
from gx10_host.content.manifest import MANIFEST

from gx10.settings import PROJECT

PROGRAM = PROJECT / f"files{ENTRY}"
CONTENT = (ENTRY, "content")


def send(source: str, title: str, target: str, *, ssh: Sequence[str], kept: Path, tell: Callable[[str], None]) -> int:
    """Describe a directory here, and have the host fetch it from a share that only this connection leads to.

    Hashes are kept at `kept`, so that only what changed is read again; what the host holds already is not sent. Returns
    the status of whichever step failed first.
    """
    words = [sys.executable, str(PROGRAM), "content", "describe", "--source", source, "--name", title]
    described = subprocess.run([*words, "--to", str(kept)], capture_output=True, text=True, check=False)
    if described.returncode:
        tell(described.stderr.strip())
        return described.returncode
    with _shared(source) as port:
        far = _far_port()
        fetch = [*CONTENT, "fetch", "--url", f"http://127.0.0.1:{far}/source", "--manifest", MANIFEST]
        fetch += ["--to", target, "--given"]
        command = [*ssh[:1], "-o", "ExitOnForwardFailure=yes", "-R", f"127.0.0.1:{far}:127.0.0.1:{port}", *ssh[1:]]
        with (
            kept.open("rb") as manifest,
            subprocess.Popen(
                [*command, shlex.join(fetch)],
                stdin=manifest,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            ) as running,
        ):
            for line in running.stdout or ():
                tell(line.rstrip())
        return running.returncode


@contextlib.contextmanager
def _shared(source: str) -> Iterator[int]:
    """Share a directory on a port of this node's loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    words = ["--listen", f"127.0.0.1:{port}", "--allow", "127.0.0.0/8", "--directory", f"source={source}"]
    with subprocess.Popen([sys.executable, str(PROGRAM), "share", *words]) as share:
        try:
            until = time.monotonic() + 10
            while time.monotonic() < until:
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                time.sleep(0.05)
            yield port
        finally:
            share.terminate()


def _far_port() -> int:
    """A port for the far end of the tunnel, from the range that Linux gives to nobody by itself."""
    return 28000 + int(time.monotonic() * 1000) % 4000

"""Weights from a directory of the control node to a host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gx10_host.content.manifest import MANIFEST

from .through_ssh import HERE, Content, Remote, TransferError, narrated, send


def send_weights(
    source: Path, title: str, host: Remote, target: str, *, kept: Path, tell: Callable[[str], None]
) -> None:
    """Describe a directory here and have the host complete its own from it; raises TransferError.

    The description is kept at `kept`, its hashes beside it, so that only what has changed is read again.
    """
    describe = [*HERE, "content", "describe", "--source", str(source), "--name", title, "--to", str(kept)]
    status, errors = narrated(describe, b"", tell)
    if status:
        raise TransferError(f"control node: {errors}")
    send(Content(kept.read_bytes(), MANIFEST), source, host, target, tell)

"""What this node keeps of a cluster: where it lies, and how it is written."""

from __future__ import annotations

import os
from pathlib import Path


def state_directory(cluster: str) -> Path:
    """Where this node keeps what it knows of a cluster: `$GX10_STATE`, or below the user's own state directory."""
    if named := os.environ.get("GX10_STATE"):
        root = Path(named)
    else:
        root = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "gx10"
    directory = root / cluster
    # Nobody else's: who can open a file in it can hold its lock.
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    return directory


def write_whole(path: Path, text: str, mode: int = 0o640) -> None:
    """Write a file under another name, sync it and give it its own: a reader never finds half of it."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as target:
        os.fchmod(target.fileno(), mode)
        target.write(text)
        target.flush()
        os.fsync(target.fileno())
    partial.rename(path)

"""Where this node keeps what it knows of a cluster."""

from __future__ import annotations

import os
from pathlib import Path


def state_root() -> Path:
    """Where this node keeps what it knows of clusters: `$GX10_STATE`, or below the user's own state directory."""
    if named := os.environ.get("GX10_STATE"):
        return Path(named)
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "gx10"


def state_directory(cluster: str) -> Path:
    """Where it keeps what it knows of one, made where it is not there."""
    directory = state_root() / cluster
    # Nobody else's: who can open a file in it can hold its lock.
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    return directory

"""The machine-wide cache that labs of all checkouts share, and its locks."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_directory() -> Path:
    """`$GX10_CACHE`, else `$XDG_CACHE_HOME/gx10`, else `~/.cache/gx10`; made when absent."""
    if own := os.environ.get("GX10_CACHE"):
        directory = Path(own)
    elif xdg := os.environ.get("XDG_CACHE_HOME"):
        directory = Path(xdg) / "gx10"
    else:
        directory = Path.home() / ".cache" / "gx10"
    directory.mkdir(parents=True, exist_ok=True)
    return directory.resolve()


def import_directory() -> Path:
    """Where the owner drops wheels, images and weights; the head sees it read-only as /srv/import."""
    directory = cache_directory() / "import"
    directory.mkdir(exist_ok=True)
    return directory


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold the advisory lock on `path`, a directory or a file that is made when absent; waits for its turn.

    The kernel lets go of the lock when its holder dies, so nobody has to clean up after a crash. Yields the descriptor:
    a child that inherits it holds the lock as well.
    """
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)

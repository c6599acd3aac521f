"""What the file systems of this host hold, and where they are mounted."""

from __future__ import annotations

import os
import pathlib
import re


def free_bytes(path: str | pathlib.Path) -> int:
    """Bytes that are free where a path is, or would be made."""
    where = pathlib.Path(path).absolute()
    while not where.exists():
        where = where.parent
    space = os.statvfs(where)
    return space.f_bavail * space.f_frsize


def mount_points() -> set[pathlib.Path]:
    """Every mount point, also those of directories of the same file system, which look like any other."""
    points = set()
    for line in pathlib.Path("/proc/self/mountinfo").read_bytes().splitlines():
        point = re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), line.split(b" ")[4])
        points.add(pathlib.Path(os.fsdecode(point)))
    return points


def lines_of(path: str | pathlib.Path) -> list[str]:
    """Lines of a file, whatever its bytes; none where there is no file. One that cannot be read is an OSError."""
    try:
        text = pathlib.Path(path).read_bytes().decode(errors="surrogateescape")
    except FileNotFoundError:
        return []
    return text.removesuffix("\n").split("\n") if text else []

"""What is mounted where, as the kernel tells it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Mount:
    """One mount of this process's mount namespace."""

    point: Path
    kind: str
    """Type of the file system: `ext4`, `overlay`, …"""


def parse(mountinfo: str) -> list[Mount]:
    """The mounts in a text of the form of /proc/self/mountinfo, in its order."""
    mounts = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        # The kernel writes space, tab, newline and backslash as octal escapes.
        point = _ESCAPE.sub(lambda found: chr(int(found[1], 8)), before.split()[4])
        mounts.append(Mount(Path(point), after.split()[0]))
    return mounts


def mounted() -> list[Mount]:
    """All mounts this process sees."""
    return parse(Path("/proc/self/mountinfo").read_text())


def mounts_under(directory: Path, mounts: list[Mount]) -> list[Path]:
    """Mount points at or below the directory, the deepest first."""
    points = [mount.point for mount in mounts if mount.point == directory or directory in mount.point.parents]
    return sorted(points, key=lambda point: len(point.parts), reverse=True)


def file_system_of(path: Path, mounts: list[Mount]) -> str:
    """Type of the file system that holds the path; of mounts on one point the last counts."""
    holding = [mount for mount in mounts if mount.point == path or mount.point in path.parents]
    return max(enumerate(holding), key=lambda turn: (len(turn[1].point.parts), turn[0]))[1].kind

"""Put lines between two marks at the top of a file, described as JSON on standard input.

No lines at all, which is null, take the marks away as well. All other lines stay as they are, byte for byte. A mark
without its partner is removed, the lines after it stay: nobody can tell whose they are.
"""

from __future__ import annotations

import json
import pathlib
import stat
import sys
from collections.abc import Sequence

from .whole import write_whole


def others(lines: Sequence[bytes], begin: bytes, end: bytes) -> list[bytes]:
    """The lines that are not between marks, and no mark."""
    kept: list[bytes] = []
    block: list[bytes] | None = None
    for line in lines:
        if line == begin:
            kept += block or []
            block = []
        elif line == end:
            block = None
        elif block is None:
            kept.append(line)
        else:
            block.append(line)
    return kept + (block or [])


def main(_: Sequence[str]) -> int:
    """Write the file, in place of what a link leads to."""
    asked = json.load(sys.stdin)
    named = pathlib.Path(asked["path"])
    path = named.resolve()  # A file that is kept elsewhere stays there.
    try:
        begin, end = (mark.encode() for mark in asked["marks"])
        before = path.lstat() if path.exists() else None
        text = path.read_bytes() if before else b""
        lines = others(text.removesuffix(b"\n").split(b"\n") if text else [], begin, end)
        block = [] if asked["lines"] is None else [begin, *(line.encode() for line in asked["lines"]), end]
        led = b"\n".join([*block, *lines]) + b"\n"
        owner = (before.st_uid, before.st_gid) if before else None
        write_whole(path, led, mode=stat.S_IMODE(before.st_mode) if before else 0o644, owner=owner)
    except OSError as error:
        sys.exit(f"{named} could not be written: {error}. It stands as it was; repair it and run again.")
    return 0

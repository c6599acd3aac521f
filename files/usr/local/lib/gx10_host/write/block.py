"""Runs on a host: put lines between two marks at the top of a file, described as JSON on standard input.

No lines at all, which is null, take the marks away as well. All other lines stay as they are, byte for byte. A mark
without its partner is removed, the lines after it stay: nobody can tell whose they are.
"""

import json
import os
import pathlib
import sys


def others(lines, begin, end):
    """The lines that are not between marks, and no mark."""
    kept, block = [], None
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


def main(argv):
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
        partial = path.with_name(f".{path.name}.gx10-partial")
        partial.unlink(missing_ok=True)
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
            if before:
                os.fchown(target.fileno(), before.st_uid, before.st_gid)
            os.fchmod(target.fileno(), before.st_mode & 0o7777 if before else 0o644)
            target.write(led)
            target.flush()
            os.fsync(target.fileno())
        partial.rename(path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(directory)
        os.close(directory)
    except OSError as error:
        sys.exit(f"{named} could not be written: {error}. It stands as it was; repair it and run again.")

"""What stands at some paths: argv[0] is JSON {"paths": [...], "blocks": {path: [begin, end]}}.

Prints JSON {path: null or its state}, where a path with a block also tells the lines between the marks that lead it.
"""

from __future__ import annotations

import grp
import hashlib
import json
import pathlib
import pwd
import stat
from collections.abc import Sequence
from typing import Any


def owner(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def state(name: str) -> dict[str, Any] | None:
    path = pathlib.Path(name)
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    told: dict[str, Any] = {
        "mode": format(stat.S_IMODE(found.st_mode), "o"),
        "user": owner(found.st_uid),
        "group": group(found.st_gid),
        "kind": "other",
    }
    if stat.S_ISLNK(found.st_mode):
        told["kind"] = "link"
    elif stat.S_ISDIR(found.st_mode):
        told["kind"] = "directory"
    elif stat.S_ISREG(found.st_mode):
        told["kind"] = "file"
        with path.open("rb") as content:
            told["sha256"] = hashlib.file_digest(content, "sha256").hexdigest()
    return told


def block(name: str, begin: str, end: str) -> list[str] | None:
    """The lines between two marks that lead a file; None where they do not lead it, or any mark is out of place."""
    try:
        lines = pathlib.Path(name).read_bytes().decode(errors="surrogateescape").split("\n")
    except OSError:
        return None
    if lines[0] != begin or lines.count(begin) != 1 or lines.count(end) != 1:
        return None
    return lines[1 : lines.index(end)]


def main(argv: Sequence[str]) -> int:
    asked = json.loads(argv[0])
    told = {name: state(name) for name in asked["paths"]}
    for name, marks in asked.get("blocks", {}).items():
        told[name] = found = state(name)
        if found:
            found["block"] = block(name, *marks)
    print(json.dumps(told))
    return 0

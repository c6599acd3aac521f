"""Take lines out of a user's authorized_keys and add one, described as JSON on standard input.

Every other line stays as it is, byte for byte, in its order. Prints nothing.
"""

from __future__ import annotations

import json
import os
import pathlib
import pwd
import stat
import sys
from collections.abc import Sequence

from .whole import write_whole


def main(_: Sequence[str]) -> int:
    """Write the file of the user who is named."""
    asked = json.load(sys.stdin)
    found = pwd.getpwnam(asked["login"])
    path = pathlib.Path(found.pw_dir, ".ssh/authorized_keys").resolve()
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700)
            os.chown(path.parent, found.pw_uid, found.pw_gid)
        text = path.read_bytes() if path.exists() else b""
        before = path.lstat() if path.exists() else None
        going = {line.encode(errors="surrogateescape") for line in asked["remove"]}
        text = b"\n".join(line for line in text.split(b"\n") if line not in going)
        if asked["add"]:
            text += (b"\n" if text and not text.endswith(b"\n") else b"") + asked["add"].encode() + b"\n"
        owner = (before.st_uid, before.st_gid) if before else (found.pw_uid, found.pw_gid)
        write_whole(path, text, mode=stat.S_IMODE(before.st_mode) if before else 0o600, owner=owner)
    except OSError as error:
        sys.exit(f"{path} could not be written: {error}. It stands as it was; repair it and run again.")
    return 0

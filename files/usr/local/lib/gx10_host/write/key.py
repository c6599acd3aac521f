"""Runs on a host: take lines out of a user's authorized_keys and add one, described as JSON on standard input.

Every other line stays as it is, byte for byte, in its order. Prints nothing.
"""

import json
import os
import pathlib
import pwd
import sys


def main(argv):
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
        partial = path.with_name(f".{path.name}.gx10-partial")
        partial.unlink(missing_ok=True)
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
            owner = (before.st_uid, before.st_gid) if before else (found.pw_uid, found.pw_gid)
            os.fchown(target.fileno(), *owner)
            os.fchmod(target.fileno(), before.st_mode & 0o7777 if before else 0o600)
            target.write(text)
            target.flush()
            os.fsync(target.fileno())
        partial.rename(path)
    except OSError as error:
        sys.exit(f"{path} could not be written: {error}. It stands as it was; repair it and run again.")

"""Runs on a host: write the files and directories described as JSON on standard input, each whole or not at all."""

import base64
import json
import os
import pathlib
import shutil
import sys


def clear(path, wanted_directory):
    """Make room: a link or a file where a directory belongs, or the reverse. A full directory is never removed."""
    if path.is_symlink() or (path.exists() and path.is_dir() != wanted_directory):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()


def settle(target, entry):
    shutil.chown(target, entry["user"], entry["group"])
    os.chmod(target, int(entry["mode"], 8), follow_symlinks=True)


for entry in json.load(sys.stdin):
    path = pathlib.Path(entry["path"])
    clear(path, entry["content"] is None)
    if entry["content"] is None:
        path.mkdir(parents=True, exist_ok=True)
        settle(path, entry)
        continue
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.gx10-partial")
    partial.unlink(missing_ok=True)
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
        settle(partial, entry)
        target.write(base64.b64decode(entry["content"]))
        target.flush()
        os.fsync(target.fileno())
    partial.rename(path)

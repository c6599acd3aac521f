"""Write the files and directories described as JSON on standard input, each whole or not at all."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from .whole import owner_of, sync_directory, write_whole


def put_directory(path: pathlib.Path, entry: dict[str, Any]) -> None:
    """A link or a file gives way; what is in a directory stays."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        path.unlink()
    if not path.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700)
    os.chown(path, *owner_of(entry["user"], entry["group"]))
    path.chmod(int(entry["mode"], 8))
    sync_directory(path.parent)


def put_file(path: pathlib.Path, entry: dict[str, Any]) -> None:
    """What stands there gives way, also a directory that is empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    owner = owner_of(entry["user"], entry["group"])
    write_whole(path, base64.b64decode(entry["content"]), mode=int(entry["mode"], 8), owner=owner)


def main(_: Sequence[str]) -> int:
    """Write all of it; the first that cannot be written ends it."""
    for entry in json.load(sys.stdin):
        path = pathlib.Path(entry["path"])
        try:
            (put_directory if entry["content"] is None else put_file)(path, entry)
        except (OSError, LookupError) as error:
            sys.exit(f"{path} could not be written: {error}. Nothing stands there in part; repair it and run again.")
    return 0

"""Runs on a host: write the files and directories described as JSON on standard input, each whole or not at all."""

import base64
import json
import os
import pathlib
import shutil
import sys


def put_directory(path, entry):
    """A link or a file gives way; what is in a directory stays."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        path.unlink()
    if not path.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700)
    shutil.chown(path, entry["user"], entry["group"])
    path.chmod(int(entry["mode"], 8))


def put_file(path, entry):
    """A link gives way to the file, what it leads to stays; a directory gives way when it is empty."""
    content = base64.b64decode(entry["content"])
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.gx10-partial")
    partial.unlink(missing_ok=True)
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
            # Owner and mode before the first byte: no secret is readable by others at any instant.
            shutil.chown(partial, entry["user"], entry["group"])
            os.fchmod(target.fileno(), int(entry["mode"], 8))
            target.write(content)
            target.flush()
            os.fsync(target.fileno())
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        partial.rename(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def sync_directory(path):
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def main(argv):
    for described in json.load(sys.stdin):
        where = pathlib.Path(described["path"])
        try:
            (put_directory if described["content"] is None else put_file)(where, described)
            sync_directory(where.parent)
        except (OSError, LookupError) as error:
            sys.exit(f"{where} could not be written: {error}. Nothing stands there in part; repair it and run again.")

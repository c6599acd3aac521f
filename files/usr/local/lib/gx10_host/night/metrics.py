"""Gives node_exporter what the reconciler wrote: metrics.py --from FILE --user USER --to DIRECTORY

As root, between two directories that others may own: nothing is opened, changed or renamed by a name that could lead
elsewhere meanwhile. What is read must be a plain file of the user's own.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import pwd
import stat
import sys
from collections.abc import Sequence

MOST_BYTES = 1 << 20


def text_of(path: pathlib.Path, user: str) -> bytes:
    """The file's content; anything but a plain file of the user's own is refused."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as source:
        found = os.fstat(source.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid != pwd.getpwnam(user).pw_uid or found.st_size > MOST_BYTES:
            sys.exit(f"metrics: {path} is no plain file of {user}'s own below 1 MiB. It was not copied.")
        return source.read(MOST_BYTES)


def put(directory: int, name: str, text: bytes) -> None:
    """Write a file whole, below a directory that is held open."""
    partial = f".{name}.{os.getpid()}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(partial, dir_fd=directory)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(partial, flags, 0o600, dir_fd=directory), "wb") as target:
        target.write(text)
        target.flush()
        os.fchmod(target.fileno(), 0o644)
    os.rename(partial, name, src_dir_fd=directory, dst_dir_fd=directory)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="source", type=pathlib.Path, required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--to", type=pathlib.Path, required=True)
    arguments = parser.parse_args(argv)
    os.umask(0o022)
    try:
        text = text_of(arguments.source, arguments.user)
        arguments.to.mkdir(parents=True, exist_ok=True)
        directory = os.open(arguments.to, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        put(directory, arguments.source.name, text)
    except (OSError, KeyError) as error:
        sys.exit(f"metrics: {arguments.source} could not be given to {arguments.to}: {error}")
    return 0

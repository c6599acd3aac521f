"""What lies below the model root, as far as it is the root's own: no links, no mounts."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import stat
from collections.abc import Collection, Iterator


class Tree:
    """The directories and files below the root, as far as they are the root's own: no links, no mounts."""

    def __init__(self, root: pathlib.Path, mounts: Collection[pathlib.Path]) -> None:
        self.root, self.mounts = root, mounts

    def children(self, path: pathlib.Path) -> Iterator[tuple[str, pathlib.Path, os.stat_result]]:
        """Entries of a directory in order: name, path and lstat; nothing of what is no directory of ours."""
        if path != self.root and not self.own_directory(path):
            return
        try:
            names = sorted(os.listdir(path))  # noqa: PTH208 - names as they are
        except NotADirectoryError:
            return
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                yield name, path / name, (path / name).lstat()

    def own_directory(self, path: pathlib.Path) -> bool:
        """Whether a path is a directory that neither is a link nor has something else mounted on it."""
        try:
            return stat.S_ISDIR(path.lstat().st_mode) and path not in self.mounts
        except OSError:
            return False

    def holds_mount(self, path: pathlib.Path) -> bool:
        return any(mount == path or path in mount.parents for mount in self.mounts)

    def below(self, path: pathlib.Path) -> Iterator[tuple[pathlib.Path, os.stat_result]]:
        """Everything below a directory: path and lstat, each directory before what it holds."""
        for _, child, found in self.children(path):
            yield child, found
            if stat.S_ISDIR(found.st_mode):
                yield from self.below(child)

    def freed(self, path: pathlib.Path) -> int:
        """Bytes that the removal of a path frees."""
        found = path.lstat()
        entries = [(path, found), *(self.below(path) if stat.S_ISDIR(found.st_mode) else ())]
        names: dict[tuple[int, int], list[os.stat_result]] = {}
        for _, entry in entries:
            names.setdefault((entry.st_dev, entry.st_ino), []).append(entry)
        # A file that also has a name elsewhere keeps its bytes.
        return sum(
            same[0].st_blocks * 512
            for same in names.values()
            if stat.S_ISDIR(same[0].st_mode) or same[0].st_nlink <= len(same)
        )

    def newest(self, path: pathlib.Path) -> float:
        """When anything in a path was last written, in seconds."""
        found = path.lstat()
        times = [found.st_mtime, *(entry.st_mtime for _, entry in self.below(path))]
        return max(times)

    def below_root(self, path: pathlib.Path) -> str:
        return str(path.relative_to(self.root))


def plain_file(path: pathlib.Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def is_locked(path: pathlib.Path) -> bool:
    """Whether a transfer or a check works in a directory."""
    if path.is_symlink() or not path.is_dir():
        return False
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False

"""What a hub's cache on this host holds of some content, found by name and proven by hash.

A cache is models--ORG--NAME/{blobs,refs,snapshots}, below a directory or below its `hub`. A blob of a large file is
named by its sha256; since huggingface_hub 2 it may be a link into a store that all repositories of the cache share.
"""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Iterable, Iterator

from .landing import own_file
from .manifest import SHA256, Entry
from .proof import Progress, digest_so_far

REPOSITORY = re.compile(r"models--[^/]+")


class Cached:
    """The content of all caches below a directory, by what it is known by."""

    def __init__(self, root: str | pathlib.Path, entries: Iterable[Entry]) -> None:
        self.root = pathlib.Path(root).resolve()
        self.by_digest: dict[str, pathlib.Path] = {}
        self.by_path: dict[str, list[pathlib.Path]] = {}
        entries = list(entries)
        wanted = {entry["sha256"] for entry in entries}
        paths = {entry["path"] for entry in entries}
        for repository in repositories(self.root):
            self.by_digest |= {blob.name: blob for blob in listed(repository / "blobs") if blob.name in wanted}
            for snapshot in listed(repository / "snapshots"):
                for path in paths:
                    self.by_path.setdefault(path, []).append(snapshot / path)

    def bring(self, entry: Entry, partial: pathlib.Path, progress: Progress) -> str | None:
        """Let cached content stand at the partial name; its sha256 where it is right, else None."""
        candidates = [self.by_digest.get(entry["sha256"]), *self.by_path.get(entry["path"], ())]
        for candidate in filter(None, candidates):
            try:
                content = candidate.resolve(strict=True)
                size = content.stat().st_size if content.is_file() else -1
            except OSError:
                continue
            if not content.is_relative_to(self.root) or size != entry["size"]:
                continue
            if not linked(content, partial):
                return None  # Another file system: bringing it costs as much as receiving it.
            found, count = digest_so_far(partial, progress)
            if found.hexdigest() == entry["sha256"]:
                return entry["sha256"]
            progress.add(-count)
            partial.unlink()
        return None


def repositories(root: pathlib.Path) -> Iterator[pathlib.Path]:
    """Directories of repositories in the caches at or below a directory."""
    for cache in (root, root / "hub"):
        for path in listed(cache):
            if REPOSITORY.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                yield path


def listed(directory: pathlib.Path) -> list[pathlib.Path]:
    """Paths in a directory, in order; none where it cannot be read."""
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def own_blob(path: pathlib.Path) -> str:
    """The sha256 that a cache names a blob by, or "" for any other file."""
    return path.name if SHA256.fullmatch(path.name) and path.parent.name == "blobs" else ""


def linked(content: pathlib.Path, partial: pathlib.Path) -> bool:
    """Let a file stand under a second name, where one file system holds both."""
    own_file(partial)
    partial.unlink(missing_ok=True)
    try:
        os.link(content, partial)
    except OSError:
        return False
    return True

"""Content digests of files and of the inputs that something was made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path


def sha256_of(path: Path) -> str:
    """The sha256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def inputs_digest(inputs: Iterable[object]) -> str:
    """A digest over texts, numbers and lists that names what they make."""
    return hashlib.sha256(json.dumps(list(inputs), sort_keys=True).encode()).hexdigest()


class Seal:
    """Remembers what a directory was made from and what it then held, so that a later look needs no second making.

    A file counts as unchanged while its size and modification time are; otherwise it is read and its sha256 compared.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def holds(self, inputs: str, directory: Path) -> bool:
        """Whether the directory was made from `inputs` and still is what it was."""
        try:
            sealed = json.loads(self._file.read_text())
        except (FileNotFoundError, ValueError):
            return False
        if sealed["inputs"] != inputs:
            return False
        files = sealed["files"]
        return files.keys() == _names(directory) and all(_same(directory / name, of) for name, of in files.items())

    def write(self, inputs: str, directory: Path) -> None:
        """Seal the directory as it is."""
        files = {}
        for name in sorted(_names(directory)):
            stat = (directory / name).stat()
            files[name] = [stat.st_size, stat.st_mtime_ns, sha256_of(directory / name)]
        partial = self._file.with_name(f"{self._file.name}.partial")
        partial.write_text(json.dumps({"inputs": inputs, "files": files}))
        partial.rename(self._file)


def _names(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}


def _same(path: Path, sealed: list[object]) -> bool:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns] == sealed[:2] or (stat.st_size, sha256_of(path)) == (sealed[0], sealed[2])

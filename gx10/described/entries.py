"""Files and directories as they stand on a host: content, mode and owner."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class File:
    """A file on a host."""

    path: str
    content: bytes
    mode: str = "644"
    user: str = "root"
    group: str = "root"

    @property
    def kind(self) -> str:
        """What must stand at the path."""
        return "file"

    @property
    def described(self) -> str:
        """The file in words."""
        return f"file {hashlib.sha256(self.content).hexdigest()[:12]} {self.mode} {self.user}:{self.group}"

    def differs(self, found: dict[str, Any] | None) -> bool:
        """Whether what was found at the path is anything but this file."""
        return _differs(self, found) or found is None or found["sha256"] != hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Directory:
    """A directory on a host."""

    path: str
    mode: str = "755"
    user: str = "root"
    group: str = "root"

    @property
    def kind(self) -> str:
        """What must stand at the path."""
        return "directory"

    @property
    def described(self) -> str:
        """The directory in words."""
        return f"directory {self.mode} {self.user}:{self.group}"

    def differs(self, found: dict[str, Any] | None) -> bool:
        """Whether what was found at the path is anything but this directory."""
        return _differs(self, found)


def _differs(wanted: File | Directory, found: dict[str, Any] | None) -> bool:
    if found is None or found["kind"] != wanted.kind:
        return True
    return (found["mode"], found["user"], found["group"]) != (wanted.mode, wanted.user, wanted.group)

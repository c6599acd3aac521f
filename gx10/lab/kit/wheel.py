"""Writes small wheels: a zip with metadata and a record, the same bytes every time and everywhere.

Nothing is compressed: the same content gives other bytes with another zlib, and a lock holds the wheels' hashes.
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Wheel:
    """A wheel made here; `files` are its contents by path below site-packages."""

    name: str
    version: str
    summary: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    entry_points: str | None = None
    tag: str = "py3-none-any"

    @property
    def filename(self) -> str:
        """The file name that its name, version and tag give it."""
        return f"{self.name.replace('-', '_')}-{self.version}-{self.tag}.whl"

    def write(self, directory: Path) -> Path:
        """Write the wheel into `directory` and return its path."""
        info = f"{self.name.replace('-', '_')}-{self.version}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: {self.name}\nVersion: {self.version}\nSummary: {self.summary}\n"
        metadata += "".join(f"Requires-Dist: {one}\n" for one in self.requires)
        contents = dict(self.files)
        contents[f"{info}/METADATA"] = metadata.encode()
        contents[f"{info}/WHEEL"] = (
            f"Wheel-Version: 1.0\nGenerator: gx10\nRoot-Is-Purelib: true\nTag: {self.tag}\n".encode()
        )
        if self.entry_points:
            contents[f"{info}/entry_points.txt"] = self.entry_points.encode()
        record = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in contents.items())
        contents[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
        target = directory / self.filename
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            for path, data in contents.items():
                member = zipfile.ZipInfo(path, _ZIP_EPOCH)
                member.external_attr = 0o644 << 16
                archive.writestr(member, data)
        return target

    def unpack(self, directory: Path) -> None:
        """Install the wheel's files into `directory`, as far as importing them needs it."""
        with TemporaryDirectory() as scratch, zipfile.ZipFile(self.write(Path(scratch))) as archive:
            archive.extractall(directory)


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()

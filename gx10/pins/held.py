"""Writes the hashes of wheels that nobody published into the image description, from the files their owner holds."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from gx10.settings.image import Image


def held_hashes(image: Image, directory: Path) -> dict[str, str]:
    """The sha256 of every required wheel in a directory that has no pin yet, by file name."""
    found = {}
    for wheel in image.wheels.required:
        path = directory / wheel.name
        if wheel.sha256 is None and path.is_file():
            with path.open("rb") as source:
                found[wheel.name] = hashlib.file_digest(source, "sha256").hexdigest()
    return found


def other_hashes(image: Image, directory: Path) -> dict[str, tuple[str, str]]:
    """Wheels in a directory that are not the pinned ones: found and pinned hash by file name."""
    other = {}
    for wheel in image.wheels.required:
        path = directory / wheel.name
        if wheel.sha256 is not None and path.is_file():
            with path.open("rb") as source:
                found = hashlib.file_digest(source, "sha256").hexdigest()
            if found != wheel.sha256:
                other[wheel.name] = (found, wheel.sha256)
    return other


def pinned(text: str, hashes: dict[str, str]) -> str:
    """An image description with hashes beside the names of their files; everything else stays as it is written."""
    for name, digest in hashes.items():
        # The name may be quoted, and it must not be the end of another.
        text = re.sub(rf"(?<![\w.+-]){re.escape(name)}(?!@)", f"{name}@sha256:{digest}", text)
    return text

"""What an image is built from, and the digest that names it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gx10.pins.locked import Locked, normalised, read_lock
from gx10.settings import Image
from gx10.settings.image import Wheel

LABEL = "gx10.inputs"
WHEELS, INDEX = "/wheels", "/index"
"""Where the build sees the wheel directory and the index of the head."""


_PINNED = re.compile(r"([A-Za-z0-9._-]+)==([^\s;#]+)")


class PinError(Exception):
    """A pin that cannot be built from: the file that holds it, and a sentence."""

    def __init__(self, file: str, sentence: str) -> None:
        super().__init__(sentence)
        self.file = file


@dataclass(frozen=True)
class ImageInputs:
    """The build context of an image by path, and the digest over it, the pins and the locks."""

    context: dict[str, bytes]
    digest: str


def image_inputs(image: Image, project: Path) -> ImageInputs:
    """Collect an image's build context.

    Raises FileNotFoundError for a Dockerfile, mod or lock that is not there, PinError for a lock that does not fit.
    """
    root = (project / image.dockerfile).parent
    context = {path.relative_to(root).as_posix(): path.read_bytes() for path in _context_files(root, image)}
    context |= {f"pins/{name}": text.encode() for name, text in pins(image, project).items()}
    # Where wheels come from, why one has no hash and what room a build is granted change nothing in the image.
    described = image.model_dump_json(
        exclude={
            "extends": True,
            "build_gib": True,
            "wheels": {"required": {"__all__": {"origin", "unpinned"}}},
            "base": {"unpinned"},
        }
    )
    content = hashlib.sha256(described.encode())
    for name, data in sorted(context.items()):
        content.update(f"\0{name}\0{hashlib.sha256(data).hexdigest()}".encode())
    return ImageInputs(context, content.hexdigest())


def pins(image: Image, project: Path) -> dict[str, str]:
    """The pins as the build's installers read them, one file for each layer of the Dockerfile."""
    own = {wheel.project for wheel in image.wheels.required}
    locked = [one for one in _locked(image.lock, project) if one.name not in own]
    torch = [one for one in locked if one.name == "torch"]
    _check_torch(image, torch)
    _check_asked(project, image.requirements, image.lock, locked, own)
    files = {
        "tools.txt": [one.line() for one in locked if one.layer == "tools"],
        "torch-needs.txt": [one.line() for one in locked if one.layer == "torch" and one not in torch],
        "engine.txt": [
            *(_wheel_line(wheel) for wheel in image.wheels.required),
            *(one.line() for one in locked if one.layer == "engine"),
        ],
        "torch.txt": [one.line() for one in torch],
    }
    if image.variant is not None:
        above = _locked(image.variant.lock, project)
        _check_asked(project, image.variant.requirements, image.variant.lock, above, own)
        files["variant.txt"] = [one.line() for one in above]
    expected = {"torch": image.torch.version, "cuda": image.torch.cuda, "architectures": image.architectures}
    return {name: "\n".join(lines) + "\n" for name, lines in files.items()} | {
        "expected.json": json.dumps(expected) + "\n"
    }


def _wheel_line(wheel: Wheel) -> str:
    """An owner's wheel as a requirement. One without a pinned hash is refused before a build, by name."""
    return f"{WHEELS}/{wheel.name} --hash=sha256:{wheel.sha256 or '0' * 64}"


def _locked(file: str, project: Path) -> list[Locked]:
    try:
        return read_lock((project / file).read_text(encoding="utf-8"))
    except ValueError as error:
        raise PinError(file, str(error)) from error


def _check_asked(project: Path, requirements: str, lock: str, locked: list[Locked], own: set[str]) -> None:
    """A lock that was made before its requirements were changed would build what nobody asks for any more."""
    versions = {one.name: one.version for one in locked}
    for line in (project / requirements).read_text(encoding="utf-8").splitlines():
        match = _PINNED.match(line)
        if match and (name := normalised(match[1])) not in own and versions.get(name) != match[2]:
            raise PinError(lock, f"{requirements} asks for {match[0]}, and the lock has {versions.get(name, 'none')}")


def _check_torch(image: Image, locked: list[Locked]) -> None:
    """The lock must hold the torch that the description expects; an index may leave out the build's suffix."""
    versions = [one.version for one in locked]
    if versions not in ([image.torch.version], [image.torch.version.partition("+")[0]]):
        raise PinError(
            image.lock,
            f"the lock has torch {' and '.join(versions) or 'in no version'}, expected {image.torch.version}",
        )


def _context_files(root: Path, image: Image) -> Iterator[Path]:
    """Files of the context: all but the mods that this image does not bake in, and what Python left behind."""
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if not path.is_file() or "__pycache__" in parts:
            continue
        if parts[0] == "mods" and (len(parts) == 2 or parts[1] not in image.mods):
            continue
        yield path


def archive_name(reference: str) -> str:
    """File name of an image's manifest in an archive."""
    return reference.replace(":", "-").replace("/", "_") + ".json"

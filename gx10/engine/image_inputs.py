"""What an image is built from, and the digest that names it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gx10.settings import Image

LABEL = "gx10.inputs"


@dataclass(frozen=True)
class ImageInputs:
    """The build context of an image by path, and the digest over it, the pins and the locks."""

    context: dict[str, bytes]
    digest: str


def image_inputs(image: Image, project: Path) -> ImageInputs:
    """Collect an image's build context; raises FileNotFoundError for a Dockerfile, mod or lock that is not there."""
    root = (project / image.dockerfile).parent
    context = {path.relative_to(root).as_posix(): path.read_bytes() for path in _context_files(root, image)}
    # Room that a build is granted shapes nothing of its result.
    content = hashlib.sha256(image.model_dump_json(exclude={"build_gib"}).encode())
    locks = {name: (project / name).read_bytes() for name in image.locks}
    for name, data in sorted({**context, **locks}.items()):
        content.update(f"\0{name}\0{hashlib.sha256(data).hexdigest()}".encode())
    return ImageInputs(context, content.hexdigest())


def _context_files(root: Path, image: Image) -> Iterator[Path]:
    """Files of the context: all but the mods that this image does not bake in, and what Python left behind."""
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if not path.is_file() or "__pycache__" in parts:
            continue
        if parts[0] == "mods" and len(parts) > 2 and parts[1] not in image.mods:
            continue
        yield path


def archive_name(reference: str) -> str:
    """File name of an image's manifest in an archive."""
    return reference.replace(":", "-").replace("/", "_") + ".json"

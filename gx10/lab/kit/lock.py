"""Locks the requirements of the lab's engine image: as any image's, but with the hashes of the lab's own stand-ins."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from gx10.lab.cache import cache_directory
from gx10.lab.progress import Progress
from gx10.pins.lock import LockError, Resolver, asked_in, layered
from gx10.pins.locked import lock_text, read_lock
from gx10.settings import Image

from .digests import sha256_of
from .download import download
from .stand_ins import STAND_INS, stand_in_wheels
from .wheelhouse import own_wheels

DESCRIPTION = "images/lab-vllm-node.yaml"
_HEADER = (
    "Locked from requirements.in by `gx10 images lock lab-vllm-node`; one wheel for each package, for the lab's base.\n"
    "Some are the lab's own stand-ins (stand_ins.py), whose hashes no index has."
)


def lock(image: Image, project: Path, progress: Progress, upgrade: bool = False) -> dict[str, str]:
    """The text of the lab's lock, and of its image description with the hashes of what is made here, by file name."""
    stand_ins = {one.name: one.version for one in STAND_INS}
    present = read_lock((project / image.lock).read_text(encoding="utf-8"))
    resolver, asked = Resolver.of(image), asked_in(project / image.requirements)
    with progress.step("lock", "versions and hashes from the package index"):
        versions = resolver.resolve(asked, present, upgrade)
        stale = [
            f"{name} {version}, now {versions.get(name, 'not needed')}"
            for name, version in stand_ins.items()
            if versions.get(name) != version
        ]
        if stale:
            raise LockError(f"These stand-ins have another version than what they stand for: {'; '.join(stale)}.")
        locked = layered(resolver, asked, versions)
    with progress.step("lock", "torch, for what its stand-ins have to export") as step:
        real = [one for one in locked if one.name not in stand_ins]
        torch = next(path for path in download(real, cache_directory() / "wheels", step) if path.name[:6] == "torch-")
        made = _stand_in_hashes(torch)
    locked = [replace(one, hashes=(made[one.name],)) if one.name in made else one for one in locked]
    return {
        image.lock: lock_text(_HEADER, locked),
        DESCRIPTION: _own_hashes((project / DESCRIPTION).read_text(encoding="utf-8")),
    }


def _stand_in_hashes(torch: Path) -> dict[str, str]:
    with TemporaryDirectory() as scratch:
        return {wheel.name: sha256_of(wheel.write(Path(scratch))) for wheel in stand_in_wheels(torch)}


def _own_hashes(text: str) -> str:
    """The image description with the hashes of the wheels that the lab makes by name."""
    with TemporaryDirectory() as scratch:
        for wheel in own_wheels():
            pin = f"{wheel.filename}@sha256:{sha256_of(wheel.write(Path(scratch)))}"
            text = re.sub(rf"{re.escape(wheel.filename)}(@sha256:\w+)?", pin, text)
    return text

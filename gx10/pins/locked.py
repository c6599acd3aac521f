"""Locked requirements: one line for each package, with the hash of its one wheel, in the layers of the image."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

LAYERS = ("tools", "torch", "engine")
"""Layers of the image from below: what only builds, torch with what it needs, everything else."""

_LINE = re.compile(r"([A-Za-z0-9._-]+)==(\S+)((?: --hash=sha256:[0-9a-f]{64})+)$")
_LAYER = re.compile(r"# layer: (\w+)$")


@dataclass(frozen=True)
class Locked:
    """One pinned wheel: what an installer is told, and the sha256 it must have."""

    name: str
    version: str
    hashes: tuple[str, ...]
    layer: str = "engine"

    def line(self) -> str:
        """The requirement as pip and uv read it."""
        return " ".join((f"{self.name}=={self.version}", *(f"--hash=sha256:{digest}" for digest in self.hashes)))


def normalised(name: str) -> str:
    """A package's name as indexes write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(text: str) -> list[Locked]:
    """Parse a lock; ValueError names the line that is no pin with a hash."""
    found, layer = [], LAYERS[-1]
    for number, line in enumerate(text.splitlines(), 1):
        if heading := _LAYER.match(line):
            layer = heading[1]
        elif match := _LINE.match(line):
            found.append(Locked(match[1], match[2], tuple(re.findall(r"[0-9a-f]{64}", match[3])), layer))
        elif line.strip() and not line.startswith("#"):
            raise ValueError(f"line {number} is no `name==version --hash=sha256:…`: {line[:80]}")
    return found


def lock_text(header: str, locked: Iterable[Locked]) -> str:
    """A lock as it is kept: sorted by layer and name, so that a bump is a one-line difference."""
    lines = [f"# {line}" for line in header.splitlines()]
    packages = sorted(locked, key=lambda one: one.name)
    for layer in LAYERS:
        if inside := [one.line() for one in packages if one.layer == layer]:
            lines += [f"# layer: {layer}", *inside]
    return "\n".join(lines) + "\n"

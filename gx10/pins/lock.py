"""Locks what an image installs: versions by uv, and the hash of the one wheel of each package that fits the base."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

from gx10.settings import Image
from gx10.settings.image import Variant, Wheel

from .locked import Locked, lock_text, normalised, read_lock

TORCH_FAMILY = frozenset({"torch", "torchvision", "torchaudio"})
"""What the lowest installed layer is made for; whatever these need is part of it."""

TOOLS = frozenset({"uv"})
"""What builds an image and is not part of it."""

_MACHINES = {"linux/arm64": "aarch64", "linux/amd64": "x86_64"}


class LockError(Exception):
    """A lock that cannot be made, in a sentence."""


@dataclass(frozen=True)
class Resolver:
    """uv, told for which machine and from which indexes to choose."""

    python: str
    glibc: str
    machine: str
    indexes: tuple[str, ...] = ()

    @classmethod
    def of(cls, image: Image) -> Resolver:
        """The resolver for an image's base and indexes; a directory on a host is no index for this machine."""
        machine = _MACHINES.get(image.platform)
        if machine is None:
            raise LockError(f"Nothing is known of the platform {image.platform}; known are {', '.join(_MACHINES)}.")
        named = (image.args.get("PYPI_INDEX", ""), image.args.get("TORCH_INDEX", ""))
        indexes = dict.fromkeys(index for index in named if index and not index.startswith("file:"))
        return cls(image.base.python, image.base.glibc, machine, tuple(indexes))

    def _compile(self, output: Path, source: Path, *options: str) -> None:
        words = [
            *(_uv(), "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--no-config"),
            # Any Python will do to ask for another's wheels; without one uv would try every Python of this machine.
            *(
                "--python",
                sys.executable,
                "--python-version",
                self.python,
                "--only-binary",
                ":all:",
                "--index-strategy",
                "unsafe-best-match",
            ),
            *("--python-platform", f"{self.machine}-manylinux_{self.glibc.replace('.', '_')}"),
            *(word for index in self.indexes[:1] for word in ("--index-url", index)),
            *(word for index in self.indexes[1:] for word in ("--extra-index-url", index)),
            *options,
            *("--output-file", str(output), str(source)),
        ]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise LockError(f"uv cannot lock {source.name}:\n{done.stderr.strip()}")

    def resolve(
        self, requirements: Sequence[str], keep: Iterable[Locked] = (), upgrade: bool = False
    ) -> dict[str, str]:
        """Versions by package name; those of `keep` stay unless something asks for others, or all may rise."""
        with TemporaryDirectory() as scratch:
            source, output = Path(scratch, "requirements.in"), Path(scratch, "resolved.txt")
            source.write_text("".join(f"{line}\n" for line in requirements))
            # uv keeps the versions that it finds in its output file.
            output.write_text("".join(f"{one.name}=={one.version}\n" for one in keep))
            # What is pinned here wins over any metadata: vLLM's names another torch than it was built with.
            overrides = Path(scratch, "overrides.txt")
            overrides.write_text("".join(f"{line}\n" for line in requirements if "==" in line or " @ " in line))
            self._compile(output, source, "--override", str(overrides), *(["--upgrade"] if upgrade else []))
            pinned = (line.partition("==") for line in output.read_text().splitlines() if "==" in line)
            return {normalised(name): version.split()[0] for name, _, version in pinned}

    def hashes(self, versions: dict[str, str]) -> dict[str, str]:
        """The sha256 of the wheel that fits the base best, by package name."""
        with TemporaryDirectory() as scratch:
            source, output = Path(scratch, "resolved.txt"), Path(scratch, "pylock.toml")
            source.write_text("".join(f"{name}=={version}\n" for name, version in versions.items()))
            self._compile(output, source, "--no-deps", "--format", "pylock.toml")
            packages = tomllib.loads(output.read_text())["packages"]
        return {normalised(package["name"]): self._best(package) for package in packages}

    def _best(self, package: dict[str, Any]) -> str:
        order = {tag: place for place, tag in enumerate(self._tags())}
        found = []
        for wheel in package.get("wheels", ()):
            name = wheel.get("name") or wheel["url"].rpartition("/")[2].replace("%2B", "+")
            places = [order[tag] for tag in parse_wheel_filename(name)[3] if tag in order]
            if places and "sha256" in wheel["hashes"]:
                found.append((min(places), wheel["hashes"]["sha256"]))
        if not found:
            raise LockError(f"{package['name']} {package['version']} has no wheel with a hash for {self.machine}.")
        return str(min(found)[1])

    def _tags(self) -> list[Tag]:
        """What the base can install, best first."""
        version = tuple(int(part) for part in self.python.split("."))
        newest = int(self.glibc.partition(".")[2])
        platforms = [f"manylinux_2_{minor}_{self.machine}" for minor in range(newest, 4, -1)]
        platforms += [f"{old}_{self.machine}" for old in ("manylinux2014", "manylinux2010", "manylinux1", "linux")]
        return [*cpython_tags(version, platforms=platforms), *compatible_tags(version, platforms=platforms)]


def _uv() -> str:
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        raise LockError(f"Locking needs uv, which is not beside {sys.executable}. Install it: `make install`.")
    return str(uv)


def lock(image: Image, project: Path, wheels: Path | None = None, upgrade: bool = False) -> dict[str, str]:
    """The text of every lock of an image by file name; for a variant the lock of what it extends stays as it is.

    With a directory of wheels, what these ask for is locked instead of what the public releases of their names do.
    """
    resolver, own = Resolver.of(image), image.wheels.required
    if image.variant is not None:
        return {image.variant.lock: _variant(image, image.variant, project, resolver, upgrade)}
    asked = asked_in(project / image.requirements, own, wheels)
    versions = resolver.resolve(asked, _present(project / image.lock), upgrade)
    header = f"Locked from {image.requirements} by `gx10 images lock`; {_what(image)}."
    return {image.lock: lock_text(header, layered(resolver, asked, versions, {wheel.project for wheel in own}))}


def _what(image: Image) -> str:
    return f"one wheel for each package, for Python {image.base.python} on {image.platform}"


def layered(
    resolver: Resolver, asked: Sequence[str], versions: dict[str, str], own: Iterable[str] = ()
) -> list[Locked]:
    """Every resolved package with its hash, in the layer where it is installed; those in `own` are left out."""
    family = [line for line in asked if requirement_name(line) in TORCH_FAMILY]
    needs = resolver.resolve(family, [Locked(name, version, ()) for name, version in versions.items()])
    hashes = resolver.hashes({name: version for name, version in versions.items() if name not in own})
    return [
        Locked(name, versions[name], (digest,), "tools" if name in TOOLS else "torch" if name in needs else "engine")
        for name, digest in hashes.items()
    ]


def _variant(image: Image, variant: Variant, project: Path, resolver: Resolver, upgrade: bool) -> str:
    """What a variant installs on top: everything that its requirements change in the lock below it."""
    shared, asked = _present(project / image.lock), asked_in(project / variant.requirements)
    below = {one.name: one.version for one in shared}
    names = {requirement_name(line) for line in asked}
    rest = [line for line in asked_in(project / image.requirements) if requirement_name(line) not in names]
    own = [] if upgrade else _present(project / variant.lock)
    kept = {one.name: one for one in (*shared, *own) if one.name not in names or one in own}
    versions = resolver.resolve([*rest, *asked], kept.values())
    shared_names = {wheel.project for wheel in image.wheels.required} | TOOLS
    changed = {
        name: version for name, version in versions.items() if below.get(name) != version and name not in shared_names
    }
    hashes = resolver.hashes(changed)
    header = f"What {image.name} holds instead of, or beside, the packages in {image.lock}: locked from\n"
    header += f"{variant.requirements} by `gx10 images lock`; {_what(image)}."
    return lock_text(header, (Locked(name, changed[name], (digest,)) for name, digest in hashes.items()))


def asked_in(source: Path, own: tuple[Wheel, ...] = (), wheels: Path | None = None) -> list[str]:
    """The lines of a requirements file, with the wheels that are at hand in place of the releases of their names."""
    lines = [line.partition(" #")[0].strip() for line in source.read_text(encoding="utf-8").splitlines()]
    asked = [line for line in lines if line and not line.startswith("#")]
    if wheels is None:
        return asked
    held = {wheel.project: wheels / wheel.name for wheel in own if (wheels / wheel.name).is_file()}
    rest = [line for line in asked if requirement_name(line) not in held]
    return [*rest, *(f"{name} @ {path.resolve().as_uri()}" for name, path in held.items())]


def requirement_name(line: str) -> str:
    """The normalised name of the package that a requirement is about."""
    try:
        return normalised(Requirement(line).name)
    except InvalidRequirement as error:
        raise LockError(f"{line!r} is no requirement: {error}") from error


def _present(path: Path) -> list[Locked]:
    return read_lock(path.read_text(encoding="utf-8")) if path.is_file() else []

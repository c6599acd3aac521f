"""Downloads the wheels of a hash-locked requirement set with pip, in parallel, into one directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gx10.lab.errors import LabError
from gx10.lab.progress import Step
from gx10.pins.locked import Locked

from .digests import sha256_of

PYTHON = "3.11"
"""Python of the lab's base image (Debian bookworm), for which the wheels are chosen whatever runs here."""

# pip takes the tags of a foreign platform as they are given, so every older glibc has to be named too.
PLATFORMS = (*(f"manylinux_2_{minor}_x86_64" for minor in range(36, 4, -1)), "manylinux2014_x86_64")
_JOBS = 4
_ATTEMPTS = 3


def download(locked: list[Locked], into: Path, step: Step) -> list[Path]:
    """Have every locked wheel in `into` and return their paths; what lies there already is kept.

    LabError names what could not be downloaded. An interrupted download goes on with the wheels that are missing.
    """
    into.mkdir(parents=True, exist_ok=True)
    present = {sha256_of(path): path for path in into.glob("*.whl")}
    missing = [one for one in locked if not any(digest in present for digest in one.hashes)]
    if missing:
        scratch = into / ".pip"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        began = time.monotonic()
        with ThreadPoolExecutor(_JOBS + 1) as pool:
            watched = pool.map(lambda group: _pip_download(group, into, scratch), _groups(missing))
            done = pool.submit(list, watched)
            before = _size(into)
            while not done.done():
                _tell(step, into, before, began, len(locked))
                time.sleep(0.5)
            done.result()
        shutil.rmtree(scratch)
    return _accounted(locked, into)


def _accounted(locked: list[Locked], into: Path) -> list[Path]:
    """The path of every locked wheel, each verified against its hash; files nobody asked for are removed."""
    wanted = {digest: one for one in locked for digest in one.hashes}
    kept = []
    for path in sorted(into.glob("*.whl")):
        if wanted.pop(sha256_of(path), None) is None:
            path.unlink()
        else:
            kept.append(path)
    if len(kept) != len(locked):
        got = {path.name.split("-")[0].replace("_", "-").lower() for path in kept}
        lacking = [one.name for one in locked if one.name.lower() not in got]
        raise LabError(f"{into} lacks {', '.join(lacking)} after the download. Run `gx10 lab up` again.")
    return kept


def _groups(missing: list[Locked]) -> list[list[Locked]]:
    """Split into parallel jobs: torch, by far the largest, alone, the rest dealt out."""
    large = [one for one in missing if one.name == "torch"]
    rest = [one for one in missing if one.name != "torch"]
    jobs = _JOBS - len(large)
    return [group for group in (large, *(rest[at::jobs] for at in range(jobs))) if group]


def _pip_download(group: list[Locked], into: Path, scratch: Path) -> None:
    """Let pip fetch and verify one group; wheels appear in `into` whole."""
    own = scratch / group[0].name
    own.mkdir()
    listing = own / "requirements.txt"
    listing.write_text("".join(f"{one.line()}\n" for one in group))
    argv = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir", "--require-hashes"),
        *("--only-binary", ":all:", "--python-version", PYTHON, "--implementation", "cp"),
        *("--abi", f"cp{PYTHON.replace('.', '')}"),
        *(word for platform in PLATFORMS for word in ("--platform", platform)),
        *("--requirement", str(listing), "--dest", str(own)),
    ]
    environment = {**os.environ, "TMPDIR": str(own), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    for attempt in range(1, _ATTEMPTS + 1):
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            break
        if attempt == _ATTEMPTS or "No module named pip" in done.stderr:
            raise LabError(
                f"pip could not download {group[0].name} and {len(group) - 1} other wheels of the lab's engine image: "
                f"{_reason(done.stderr)} Check that this machine reaches its package index and run `gx10 lab up` again."
            )
    for wheel in own.glob("*.whl"):
        wheel.rename(into / wheel.name)


def _reason(stderr: str) -> str:
    errors = [line.strip() for line in stderr.splitlines() if line.startswith("ERROR")]
    return (errors or [stderr.strip().splitlines()[-1] if stderr.strip() else "it gave no reason."])[0]


def _size(directory: Path) -> int:
    """Bytes below a directory, including what pip has not finished; files may vanish while counting."""
    total = 0
    for folder, _, files in os.walk(directory):
        for name in files:
            try:
                total += (Path(folder) / name).stat().st_size
            except FileNotFoundError:
                continue
    return total


def _tell(step: Step, into: Path, before: int, began: float, total: int) -> None:
    fetched = (_size(into) - before) / 1e6
    # Not Path.rglob: it fails on a directory that pip removes meanwhile, where os.walk goes on.
    there = sum(name.endswith(".whl") for _, _, files in os.walk(into) for name in files)
    seconds = max(time.monotonic() - began, 0.1)
    step.detail(f"{min(there, total)} of {total} wheels, {fetched:.0f} MB, {fetched / seconds:.0f} MB/s")

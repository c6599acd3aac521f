"""Collect the wheels of the reconciler's environment: `python -m gx10.reconcile.wheels DIRECTORY`.

They are chosen for the host that runs it, whatever runs here, and checked against the lock.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from gx10.settings import load

LOCK = Path(__file__).with_name("requirements.lock")
DGX_OS_PYTHON = "3.12"
NEWEST_GLIBC, OLDEST_GLIBC = 39, 5
"""Ubuntu 24.04 has glibc 2.39; pip wants every older one named too."""


def collect(directory: Path, python: str, architecture: str) -> int:
    """Have every locked wheel in a directory, and nothing else; returns how many. Raises RuntimeError."""
    directory.mkdir(parents=True, exist_ok=True)
    wanted = set(re.findall(r"sha256:([0-9a-f]{64})", LOCK.read_text(encoding="utf-8")))
    platforms = [f"manylinux_2_{minor}_{architecture}" for minor in range(NEWEST_GLIBC, OLDEST_GLIBC - 1, -1)]
    with TemporaryDirectory(dir=directory) as scratch:
        words = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
            *("--only-binary", ":all:", "--require-hashes", "--python-version", python, "--implementation", "cp"),
            *("--abi", f"cp{python.replace('.', '')}", "--abi", "abi3", "--abi", "none"),
            *(word for name in (*platforms, f"manylinux2014_{architecture}") for word in ("--platform", name)),
            *("--find-links", str(directory), "--requirement", str(LOCK), "--dest", scratch),
        ]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"pip could not collect the wheels: {done.stderr.strip()[-500:]}")
        found = sorted(Path(scratch).glob("*.whl"))
        for wheel in directory.glob("*.whl"):
            wheel.unlink()
        for wheel in found:
            if hashlib.sha256(wheel.read_bytes()).hexdigest() not in wanted:
                raise RuntimeError(f"{wheel.name} is not what the lock pins")
            wheel.rename(directory / wheel.name)
    return len(found)


def main() -> None:
    """Collect for the described cluster's architecture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--python", default=DGX_OS_PYTHON, help="Python of the reconciler's host")
    arguments = parser.parse_args()
    try:
        count = collect(arguments.directory, arguments.python, load().cluster.host.architecture)
    except RuntimeError as error:
        sys.exit(str(error))
    sys.stdout.write(f"{count} wheels in {arguments.directory}. Copy them to reconcile.wheels on its host.\n")


if __name__ == "__main__":
    main()

"""Makes a Python environment from locked wheels, with no index and no other source.

    gx10-host environment --wheels DIR --lock FILE --to DIR --path DIR

It is whole when its seal says so: the seal is written last, and holds the digest of the lock and of the tree.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pathlib
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence

SEAL = ".gx10-environment.json"


def run(*words: object) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"environment: {words[0]} ended with status {done.returncode}: {(done.stderr or done.stdout)[-600:]}")
    return done.stdout


def tree(root: str | pathlib.Path) -> str:
    """Digest of everything by name, size, time, mode and owner: what changes when somebody touches or adds something.

    Byte code is part of it: Python loads it in place of what it was made from. A directory counts by its name, mode
    and owner, a link by where it leads. Plain names, no `Path`: there are thousands, and each deploy looks at them.
    """
    digest = hashlib.sha256()
    top = os.path.join(root, "")
    for directory, names, files in os.walk(top):
        names.sort()
        for name in sorted([*names, *files]):
            if name == SEAL:
                continue
            path = os.path.join(directory, name)
            found = os.lstat(path)
            told = [path[len(top) :], found.st_mode, found.st_uid]
            if stat.S_ISLNK(found.st_mode):
                told.append(os.readlink(path))
            elif not stat.S_ISDIR(found.st_mode):
                told += [found.st_size, found.st_mtime_ns]
            digest.update(json.dumps(told).encode())
    return digest.hexdigest()


def pip_of(wheels: pathlib.Path, lock: pathlib.Path) -> pathlib.Path:
    """pip itself, from its locked wheel: a host may have none."""
    for wheel in sorted(wheels.glob("pip-*.whl")):
        if hashlib.sha256(wheel.read_bytes()).hexdigest() in lock.read_text():
            return wheel / "pip"
    sys.exit(
        f"environment: {wheels} holds no pip that the lock pins. Run `make reconcile-wheels` at the control node and "
        f"copy dist/reconcile-wheels to {wheels} on this host."
    )


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=pathlib.Path, required=True)
    parser.add_argument("--lock", type=pathlib.Path, required=True)
    parser.add_argument("--to", type=pathlib.Path, required=True)
    parser.add_argument("--path", required=True)
    arguments = parser.parse_args(argv)
    pip = pip_of(arguments.wheels, arguments.lock)
    root = arguments.to
    root.parent.mkdir(parents=True, exist_ok=True)
    os.umask(0o022)
    before = set_aside(root)
    try:
        made(root, pip, arguments)
    except BaseException:
        # Whoever runs from the old one, damaged as it may be, goes on doing so.
        if before.exists():
            shutil.rmtree(root, ignore_errors=True)
            before.rename(root)
        raise
    shutil.rmtree(before, ignore_errors=True)
    print(f"{root} holds what the lock names", flush=True)
    return 0


def set_aside(root: pathlib.Path) -> pathlib.Path:
    """Move what stands there aside; where it returns to when nothing better can be made."""
    before = root.with_name(f"{root.name}.before")
    if before.exists() and not (root / SEAL).exists():
        # A run that died while it made the new one: what it had moved aside is still the only whole one.
        shutil.rmtree(root, ignore_errors=True)
        return before
    shutil.rmtree(before, ignore_errors=True)
    if root.exists():
        root.rename(before)
    return before


def made(root: pathlib.Path, pip: pathlib.Path, arguments: argparse.Namespace) -> None:
    """Make the environment, and seal it."""
    run("/usr/bin/python3", "-I", "-B", "-m", "venv", "--without-pip", root)
    python = root / "bin/python"
    run(
        *(python, "-I", pip, "install", "--quiet", "--no-index", "--find-links", arguments.wheels, "--require-hashes"),
        *("--only-binary", ":all:", "--no-deps", "--disable-pip-version-check", "--no-cache-dir"),
        *("--requirement", arguments.lock),
    )
    (site,) = root.glob("lib/python*/site-packages")
    (site / "gx10.pth").write_text(f"{arguments.path}\n")
    sealed = {"lock": hashlib.sha256(arguments.lock.read_bytes()).hexdigest(), "tree": tree(root)}
    (root / SEAL).write_text(json.dumps(sealed))

"""Puts the reconciler's copy of the project back as it was deployed, before a run and before anything of it is loaded.

project.py --archive FILE --sha256 DIGEST --to DIR [--note FILE]

What is not as in the archive is replaced, and whatever else lies there is removed: byte code, a library or a package of
a module's name would be loaded in its place. With --note, what was found is kept in a file of JSON, for a run to tell.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import io
import json
import os
import pathlib
import shutil
import stat
import sys
import zipfile
from collections.abc import Collection, Mapping, Sequence

from gx10_host.write.whole import write_whole

MOST_BYTES = 64 << 20


def archived(path: pathlib.Path, digest: str) -> dict[str, bytes]:
    """Contents by name; an archive that is not the deployed one is refused. One that restores keeps others waiting."""
    try:
        # A file that nobody else may open: whoever could read it could hold its lock.
        waits = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        fcntl.flock(waits, fcntl.LOCK_EX)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode) or os.fstat(descriptor).st_size > MOST_BYTES:
            sys.exit(f"project: {path} is no plain file below 64 MiB. Deploy again, from where you deploy.")
        data = b"".join(iter(lambda: os.read(descriptor, 1 << 20), b""))
    except OSError as error:
        sys.exit(f"project: {path} cannot be read ({error.strerror}). Deploy again, from where you deploy.")
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        sys.exit(
            f"project: {path} has sha256 {found[:12]}, expected {digest[:12]}: it is not what was deployed. "
            "Deploy again, from where you deploy."
        )
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def state(path: pathlib.Path) -> str | None:
    """What stands at a path, in words; None where nothing does."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    kind = "link" if stat.S_ISLNK(found.st_mode) else "directory" if stat.S_ISDIR(found.st_mode) else "other"
    if stat.S_ISREG(found.st_mode):
        large = found.st_size > MOST_BYTES
        kind = f"{found.st_size} bytes" if large else hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{kind} {stat.S_IMODE(found.st_mode):o} {found.st_uid}"


def remove(path: pathlib.Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def strangers(root: pathlib.Path, names: Collection[str], directories: Collection[str]) -> list[pathlib.Path]:
    """The topmost of everything that does not belong."""
    found = []
    for directory, below, files in os.walk(root):
        for name in [*files, *below]:
            path = pathlib.Path(directory, name)
            known = directories if path.is_dir() and not path.is_symlink() else names
            if str(path.relative_to(root)) not in known:
                found.append(path)
        below[:] = [name for name in below if str(pathlib.Path(directory, name).relative_to(root)) in directories]
    return found


def put(path: pathlib.Path, text: bytes) -> None:
    """Write a file whole, in place of whatever stands there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    write_whole(path, text)


def touched(root: pathlib.Path, files: Mapping[str, bytes], directories: Collection[str]) -> dict[str, str]:
    """What is not as it was deployed, and what was found in its place, by path."""
    described = dict.fromkeys(sorted(directories, key=len), "directory 755 0")
    described |= {name: f"{hashlib.sha256(text).hexdigest()} 644 0" for name, text in files.items()}
    found = {name: state(root / name) for name in described}
    told = {str(root / name): found[name] or "absent" for name in described if found[name] != described[name]}
    return told | {str(path): "nobody described it" for path in strangers(root, set(files), directories)}


def restore(root: pathlib.Path, files: Mapping[str, bytes], directories: Collection[str]) -> None:
    """Bring the directory to the archive's content."""
    for name in sorted(directories, key=len):
        path = root / name
        found = state(path)
        if found == "directory 755 0":
            continue
        if found is not None and not found.startswith("directory"):
            remove(path)
        path.mkdir(parents=True, exist_ok=True)
        os.chown(path, 0, 0)
        path.chmod(0o755)
    for path in strangers(root, set(files), directories):
        remove(path)
    for name, text in files.items():
        if state(root / name) != f"{hashlib.sha256(text).hexdigest()} 644 0":
            put(root / name, text)


def no_mounts(root: pathlib.Path) -> None:
    """Refuse while something is mounted inside: what lies there is somebody else's."""
    lines = pathlib.Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    inside = [line.split()[4] for line in lines if line.split()[4].startswith((f"{root}/", f"{root}\\"))]
    if inside:
        sys.exit(f"project: {inside[0]} is mounted inside the project. Nothing was put back; unmount it and run again.")


def note(path: pathlib.Path, touched: Mapping[str, str]) -> None:
    """Add what was found to what no run has told yet."""
    try:
        before = json.loads(path.read_text())
    except (OSError, ValueError):
        before = {}
    before = before if isinstance(before, dict) else {str(path): "no note that can be read"}
    put(path, json.dumps({**before, **touched}, indent=1, sort_keys=True).encode())


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=pathlib.Path, required=True)
    parser.add_argument("--sha256", required=True)
    parser.add_argument("--to", type=pathlib.Path, required=True)
    parser.add_argument("--note", type=pathlib.Path)
    arguments = parser.parse_args(argv)
    os.umask(0o022)
    files = archived(arguments.archive, arguments.sha256)
    root = arguments.to.absolute()
    directories = {str(parent) for name in files for parent in pathlib.PurePosixPath(name).parents}
    found = touched(root, files, directories)
    if not found:
        return 0
    no_mounts(root)
    # First: a restore that is killed half-way is told as well.
    if arguments.note:
        note(arguments.note, found)
    restore(root, files, directories)
    for path, stood in found.items():
        print(f"{path}: {stood}; put back as it was deployed".encode("ascii", "backslashreplace").decode(), flush=True)
    return 0

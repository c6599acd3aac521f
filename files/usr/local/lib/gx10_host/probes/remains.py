"""What of some units, files, directories and a user stands on a host: argv[0] is JSON, prints one JSON object.

{"units", "files", "families": {DIRECTORY/PATTERN: {"kind", "kept"}}, "trees", "directories", "user", "home", "ours"}

The answer has the same keys and of each only what is there and may be removed, as the program that removes takes it.
"others" are entries that hold a name of this package's and are not its work, each with why.
"""

from __future__ import annotations

import json
import os
import pathlib
import pwd
import re
import stat
from collections.abc import Mapping, Sequence

from gx10_host.commands import shown
from gx10_host.disk import mount_points

UNITS = "/etc/systemd/system"
others: dict[str, str] = {}
mounts: list[str] = []


def lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def plain(path: str) -> bool:
    """Whether a plain file stands at a path, and not below a link."""
    found = lstat(path)
    if found is None:
        return False
    if not stat.S_ISREG(found.st_mode):
        others[path] = "is no plain file"
        return False
    return straight(path)


def straight(path: str) -> bool:
    above = pathlib.Path(path).parent
    if above.resolve() != above:
        others[path] = f"lies below a link: {above}"
        return False
    return True


def own_directory(path: str) -> bool:
    """Whether a directory stands at a path, that is neither a link nor has something mounted in it."""
    found = lstat(path)
    if found is None:
        return False
    if not stat.S_ISDIR(found.st_mode):
        others[path] = "is no directory"
        return False
    inside = [mount for mount in mounts if mount == path or mount.startswith(f"{path}/")]
    if inside:
        others[path] = f"something else is mounted on {inside[0]}"
        return False
    return straight(path)


def ours(unit: str, path: str, mark: str) -> bool:
    """Whether a unit is this package's: by its name, or by what every unit of the gang runs."""
    if unit.startswith("gx10-"):
        return True
    if mark in pathlib.Path(path).read_text(errors="replace"):
        return True
    others[path] = f"holds nothing of {mark}"
    return False


def unit(name: str, state: Mapping[str, str], mark: str) -> dict[str, str] | None:
    """A unit that stands there; None where there is none, or it is somebody else's."""
    path = f"{UNITS}/{name}"
    if lstat(path) is not None:
        if not plain(path) or not ours(name, path, mark):
            return None
    # A unit whose file is gone may still run, or be wanted at boot.
    elif state.get("ActiveState") in (None, "inactive", "failed") or state.get("FragmentPath", path) not in ("", path):
        return None
    return {"active": state.get("ActiveState", ""), "enabled": state.get("UnitFileState", "")}


def family(place: str, kind: str, kept: Sequence[str]) -> list[str]:
    """Entries of a directory whose whole name matches, but for those that stay."""
    directory, _, pattern = place.rpartition("/")
    found = lstat(directory)
    if found is None or not stat.S_ISDIR(found.st_mode) or not straight(directory):
        return []
    names = sorted(path.name for path in pathlib.Path(directory).iterdir() if re.fullmatch(pattern, path.name))
    right = plain if kind == "file" else own_directory
    return [path for name in names if name not in kept and right(path := f"{directory}/{name}")]


def user(name: str, home: str) -> str:
    """The user, where it is the one that this package makes."""
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return ""
    if found.pw_dir != home or not 0 < found.pw_uid < 1000:
        others[f"user {name}"] = f"has uid {found.pw_uid} and home {found.pw_dir}"
        return ""
    return name


def main(argv: Sequence[str]) -> int:
    asked = json.loads(argv[0])

    mounts.extend(sorted(map(str, mount_points())))
    blocks = shown("Id,ActiveState,UnitFileState,FragmentPath", asked["units"])
    rows = (dict(line.split("=", 1) for line in lines if "=" in line) for lines in blocks)
    states = dict(zip(asked["units"], rows, strict=True))
    members: dict[str, list[str]] = {"file": [], "directory": []}
    for place, told in asked["families"].items():
        members[told["kind"]] += family(place, **told)
    units = {name: told for name in asked["units"] if (told := unit(name, states[name], asked["ours"]))}
    files = [path for path in asked["files"] if plain(path)] + members["file"]
    trees = [path for path in asked["trees"] if own_directory(path)] + members["directory"]
    who = user(asked["user"], asked["home"]) if asked["user"] else ""
    foreign = f"user {asked['user']}" in others
    home = asked["home"] if asked["home"] and not foreign and own_directory(asked["home"]) else ""
    # A directory goes when nothing of somebody else's is in it.
    going = {*files, *trees, *(f"{UNITS}/{name}" for name in units)}
    directories = []
    for path in asked["directories"]:
        if own_directory(path) and all(str(inside) in going for inside in pathlib.Path(path).iterdir()):
            directories.append(path)
            going.add(path)
    print(
        json.dumps(
            {
                "units": units,
                "files": sorted(set(files)),
                "trees": sorted(set(trees)),
                "directories": directories,
                "user": who,
                "home": home,
                "others": others,
            }
        )
    )
    return 0

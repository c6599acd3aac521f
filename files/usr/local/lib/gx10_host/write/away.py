"""Remove what the probe `remains` found, as its own JSON on standard input. Prints what went.

Units are stopped and disabled before their files go. Whatever became something else meanwhile stays, and is an error.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence

from gx10_host.disk import mount_points

STOP_SECONDS = 1200
"""A supervisor drains for as long as its unit lets it."""
UNITS = "/etc/systemd/system"


def run(*words: str, fine: Sequence[int] = (0,)) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=STOP_SECONDS, check=False)
    if done.returncode not in fine:
        sys.exit(f"{' '.join(words[:3])} ended with status {done.returncode}: {done.stderr.strip()[-300:]}")


def kind(path: str) -> str:
    """What stands at a path: `file`, `directory`, nothing, or a refusal."""
    where = pathlib.Path(path)
    if not where.is_absolute() or ".." in where.parts or where.parent.resolve() != where.parent:
        sys.exit(f"{path} lies below a link now. Nothing there was removed; look at it and run again.")
    try:
        found = where.lstat()
    except FileNotFoundError:
        return ""
    if stat.S_ISDIR(found.st_mode):
        return "directory"
    return "file" if stat.S_ISREG(found.st_mode) else "other"


def remove(path: str, wanted: str) -> None:
    found = kind(path)
    if not found:
        return
    if found != wanted or os.path.ismount(path):
        sys.exit(f"{path} is no {wanted} any more. It was not removed; look at it and run again.")
    if wanted == "file":
        pathlib.Path(path).unlink()
    else:
        whole = pathlib.Path(path).resolve()
        inside = [str(mount) for mount in mount_points() if whole in mount.parents]  # As mounted now, not before.
        if inside:
            sys.exit(f"{inside[0]} is mounted in {path}. It was not removed; unmount it and run again.")
        shutil.rmtree(path)
    print(path)


def main(_: Sequence[str]) -> int:
    """Remove all of it, what runs first."""
    asked = json.load(sys.stdin)

    units = list(asked["units"])
    for name in units:
        # Also one whose file is gone.
        run("systemctl", "disable", "--now", "--quiet", "--", name, fine=(0, 1, 5))
        run("systemctl", "stop", "--quiet", "--", name, fine=(0, 5))
    try:
        for name in units:
            remove(f"{UNITS}/{name}", "file")
        for path in asked["files"]:
            remove(path, "file")
        for path in asked["trees"]:
            remove(path, "directory")
        if units or any(path.startswith("/run/systemd/system/") for path in asked["files"]):
            run("systemctl", "daemon-reload")
        for name in units:
            run("systemctl", "reset-failed", "--", name, fine=(0, 1))
        if asked["user"]:
            run("userdel", "--", asked["user"], fine=(0, 6))
            print(f"user {asked['user']}")
        if asked["home"]:
            remove(asked["home"], "directory")
        for path in asked["directories"]:
            if kind(path) == "directory" and not any(pathlib.Path(path).iterdir()):
                pathlib.Path(path).rmdir()
                print(path)
    except OSError as error:
        sys.exit(f"{error.filename} could not be removed: {error.strerror}. What stood before it is gone; run again.")
    return 0

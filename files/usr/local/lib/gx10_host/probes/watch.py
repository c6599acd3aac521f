"""What the reconciler needs on a host: argv[0] is JSON {"user", "key", "environment", "login", "project"}; prints JSON.

Tells the host's own public key, the user, its public key, the seal and the tree of its environment, and the lines of
authorized_keys. One that cannot be read is an error: without its lines a key would be added to it at every run.
"""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pathlib
import pwd
import stat
import subprocess
from collections.abc import Sequence
from typing import Any

from gx10_host.disk import lines_of
from gx10_host.night.environment import SEAL, tree


def text(name: str) -> str | None:
    try:
        return pathlib.Path(name).read_text(errors="replace").strip()
    except OSError:
        return None


def user(name: str) -> dict[str, Any] | None:
    """Everything of a user that says what may be done as it."""
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return None
    lines = (line.split(":") for line in pathlib.Path("/etc/shadow").read_text().splitlines())
    password, expires = next(((line[1], line[7]) for line in lines if line[0] == name), ("", ""))
    return {
        "home": found.pw_dir,
        "shell": found.pw_shell,
        "groups": sorted(group.gr_name for group in grp.getgrall() if name in group.gr_mem),
        "locked": password.startswith(("!", "*")),
        "expires": expires,
    }


def public_key(name: str) -> str | None:
    """The public half of a key, where both halves are there and belong together."""
    if not pathlib.Path(name).exists():
        return None
    stored = text(f"{name}.pub")
    made = subprocess.run(["ssh-keygen", "-y", "-P", "", "-f", name], capture_output=True, text=True, check=False)
    return stored if stored and made.stdout.split()[:2] == stored.split()[:2] else None


def environment(name: str) -> dict[str, Any] | None:
    seal = text(f"{name}/{SEAL}")
    try:
        return {**json.loads(seal), "found": tree(name)} if seal else None
    except (ValueError, TypeError):
        return None


def files(root: str) -> dict[str, list[Any]]:
    """Digest, mode and owner of everything in a directory, and of itself as `.`: byte code and links as well."""
    if not os.path.isdir(root):  # a link to a directory as well, which is told as one
        return {}
    inside = [] if os.path.islink(root) else os.walk(root)
    names = (os.path.join(directory, name) for directory, below, here in inside for name in (*below, *here))
    told = {}
    for path in (root, *names):
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            digest = "link"
        elif stat.S_ISDIR(found.st_mode):
            digest = "directory"
        else:
            digest = (
                hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest() if stat.S_ISREG(found.st_mode) else "other"
            )
        told[os.path.relpath(path, root)] = [digest, format(found.st_mode & 0o7777, "o"), found.st_uid]
    return told


def restored(name: str) -> dict[str, str]:
    """What was put back before a run and is not told yet; a note that cannot be read was written by somebody else."""
    try:
        told = json.loads(pathlib.Path(name).read_text())
        return {str(path): str(state) for path, state in told.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError):
        return {name: "no note that can be read"}


def main(argv: Sequence[str]) -> int:
    asked = json.loads(argv[0])

    home = pathlib.Path(pwd.getpwnam(asked["login"]).pw_dir)
    print(
        json.dumps(
            {
                "host_key": text("/etc/ssh/ssh_host_ed25519_key.pub"),
                "user": user(asked["user"]),
                "key": public_key(asked["key"]),
                "environment": environment(asked["environment"]) if asked["environment"] else None,
                "project": files(asked["project"]) if asked["project"] else {},
                "restored": restored(asked["restored"]) if asked.get("restored") else {},
                "authorized": lines_of(home / ".ssh/authorized_keys"),
            }
        )
    )
    return 0

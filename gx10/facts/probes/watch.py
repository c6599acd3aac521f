"""What the reconciler needs on a host: argv[1] is JSON {"user", "key", "environment", "login", "project"}; prints JSON.

Tells the host's own public key, the user, its public key, the seal and the tree of its environment, and who may log in.
"""

import grp
import hashlib
import json
import pathlib
import pwd
import subprocess
import sys

from environment import SEAL, tree

asked = json.loads(sys.argv[1])


def text(name):
    try:
        return pathlib.Path(name).read_text().strip()
    except OSError:
        return None


def user(name):
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


def public_key(name):
    """The public half of a key, where both halves are there and belong together."""
    if not pathlib.Path(name).exists():
        return None
    stored = text(f"{name}.pub")
    made = subprocess.run(["ssh-keygen", "-y", "-P", "", "-f", name], capture_output=True, text=True, check=False)
    return stored if stored and made.stdout.split()[:2] == stored.split()[:2] else None


def environment(name):
    seal = text(f"{name}/{SEAL}")
    try:
        return {**json.loads(seal), "found": tree(name)} if seal else None
    except ValueError:
        return None


def authorized(login):
    path = pathlib.Path(pwd.getpwnam(login).pw_dir, ".ssh/authorized_keys")
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def files(root):
    """Digest and mode of every file of a directory; byte code is nobody's."""
    told = {}
    for path in sorted(pathlib.Path(root).rglob("*")):
        if "__pycache__" in path.parts or (path.is_dir() and not path.is_symlink()):
            continue
        found = path.lstat()
        digest = "link" if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest()
        told[str(path.relative_to(root))] = [digest, format(found.st_mode & 0o7777, "o"), found.st_uid]
    return told


login = asked["login"]
print(
    json.dumps(
        {
            "host_key": text("/etc/ssh/ssh_host_ed25519_key.pub"),
            "user": user(asked["user"]),
            "key": public_key(asked["key"]),
            "environment": environment(asked["environment"]) if asked["environment"] else None,
            "project": files(asked["project"]) if asked["project"] else {},
            "authorized": [line for line in authorized(login) if line.endswith(asked["comment"])],
        }
    )
)

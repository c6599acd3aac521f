"""What the reconciler needs on a host: argv[1] is JSON {"user", "key", "environment", "login", "project"}; prints JSON.

Tells the host's own public key, the user, its public key, the seal and the tree of its environment, and the lines of
authorized_keys. One that cannot be read is an error: without its lines a key would be added to it at every run.
"""

import hashlib
import json
import pathlib
import pwd
import sys

from environment import SEAL, tree

asked = json.loads(sys.argv[1])


def text(name):
    try:
        return pathlib.Path(name).read_text().strip()
    except OSError:
        return None


def user(name):
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return None
    return {"home": found.pw_dir, "shell": found.pw_shell, "uid": found.pw_uid}


def environment(name):
    seal = text(f"{name}/{SEAL}")
    try:
        return {**json.loads(seal), "found": tree(name)} if seal else None
    except ValueError:
        return None


def authorized(login):
    path = pathlib.Path(pwd.getpwnam(login).pw_dir, ".ssh/authorized_keys")
    try:
        text = path.read_bytes().decode(errors="surrogateescape")
    except FileNotFoundError:
        return []
    return text.removesuffix("\n").split("\n") if text else []


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
            "key": text(f"{asked['key']}.pub") if pathlib.Path(asked["key"]).exists() else None,
            "environment": environment(asked["environment"]) if asked["environment"] else None,
            "project": files(asked["project"]) if asked["project"] else {},
            "authorized": authorized(login),
        }
    )
)

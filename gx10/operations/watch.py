"""The reconciler on its host: user, key, the project as deployed, its environment; and its key on every host."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyinfra import host
from pyinfra.api.command import QuoteString

from gx10.engine import watch_files
from gx10.facts import FileStates, WatchState
from gx10.reconcile.classes import Drift

from .asking import ask
from .commands import Command, Commands, Narrated, elsewhere
from .declared import drifted, operation
from .files import File, put_command, told_state

ENVIRONMENT_PROGRAM = "/usr/local/lib/gx10/environment.py"
NO_SHELL = "/usr/sbin/nologin"
PUT_BACK = {
    "home": ("--home", watch_files.HOME),
    "shell": ("--shell", NO_SHELL),
    "groups": ("--groups", ""),
    "locked": ("--lock",),
    "expires": ("--expiredate", ""),
}
"""Options of usermod for each thing of the reconciler's user."""
NO_KEY = "of a key that is still to be made"


@operation(drift=Drift.HEAL)
def reconciler_user(watch: Mapping[str, Any], node: str, home: str) -> Commands:
    """Have the reconciler's user, who owns nothing but its state, and its key, which never leaves the host."""
    if elsewhere([node]):
        return
    found, user, key = ask(WatchState, **watch), watch["user"], watch["key"]
    described = {"home": home, "shell": NO_SHELL, "groups": [], "locked": True, "expires": ""}
    if found["user"] is None and drifted(user, "no user", "a system user"):
        words = ["useradd", "--system", "--home-dir", home, "--create-home", "--shell", NO_SHELL, "--", user]
        yield Command(*(QuoteString(word) for word in words))
        # A user that comes back may get another number than the one that its state belongs to.
        yield Command("chown", "-R", "-h", f"{user}:{user}", "--", home)
    elif found["user"] and found["user"] != described:
        differing = [name for name, value in described.items() if found["user"][name] != value]
        told = ", ".join(f"{name} {found['user'][name]}" for name in differing)
        if drifted(user, told, ", ".join(f"{name} {described[name]}" for name in differing)):
            # Only what differs: usermod refuses to move the home of a user that is at work.
            words = ["usermod", *(word for name in differing for word in PUT_BACK[name]), "--", user]
            yield Command(*(QuoteString(word) for word in words))
    if found["key"] is None and drifted(key, "no key", "a key"):
        directory = str(Path(key).parent)
        yield Command("install", "-d", "-m", "755", "-o", user, "-g", user, "--", home)
        yield Command("install", "-d", "-m", "700", "-o", user, "-g", user, "--", directory)
        yield Command(
            *("rm", "-f", "--", key, f"{key}.pub", "&&", "runuser", "-u", user, "--", "ssh-keygen", "-q"),
            *("-t", "ed25519", "-N", "''", "-C", watch["comment"], "-f", key),
        )
    if found["user"] == described and found["key"]:
        host.noop("the reconciler has its user and its key")


@operation(drift=Drift.HEAL)
def project_deployed(watch: Mapping[str, Any], node: str, root: str, files: Mapping[str, bytes]) -> Commands:
    """Have the project, file by file as it is deployed from; a file that does not belong is taken away.

    It is a copy that only deploys write, and what lies in it is run as root everywhere.
    """
    if elsewhere([node]):
        return
    found = ask(WatchState, **watch)["project"]
    wanted = {name: [hashlib.sha256(text).hexdigest(), "644", 0] for name, text in files.items()}
    wrong = [
        name
        for name, told in wanted.items()
        if found.get(name) != told and drifted(f"{root}/{name}", _told(found.get(name)), _told(told))
    ]
    others = [name for name in found if name not in wanted and drifted(f"{root}/{name}", "a file", "absent")]
    if not wrong and not others:
        host.noop(f"{len(files)} files are as described")
        return
    if wrong:
        yield put_command([File(f"{root}/{name}", files[name]) for name in wrong])
    if others:
        yield Command("rm", "-f", "--", *(QuoteString(f"{root}/{name}") for name in others))


@operation(drift=Drift.HEAL)
def environment_installed(
    *, watch: Mapping[str, Any], node: str, lock: str, lock_file: str, wheels: str, project: str
) -> Commands:
    """Have the environment that the lock names, from the wheels on this host, with no index asked."""
    if elsewhere([node]):
        return
    found = ask(WatchState, **watch)["environment"]
    if found and found["lock"] == lock and found["tree"] == found["found"]:
        host.noop("the environment is what its lock names")
        return
    told = "absent" if found is None else f"lock {found['lock'][:12]}, tree {found['found'][:12]}"
    if not drifted(watch["environment"], told, f"lock {lock[:12]}, as it was sealed"):
        return
    words = [ENVIRONMENT_PROGRAM, "--wheels", wheels, "--lock", lock_file, "--to", watch["environment"]]
    yield Narrated(*(QuoteString(word) for word in words), "--path", QuoteString(project))


@operation(drift=Drift.HEAL)
def hosts_known(watch: Mapping[str, Any], node: str, path: str, addresses: Mapping[str, Sequence[str]]) -> Commands:
    """Write the hosts' keys, as they tell them over connections that are trusted already: no first login is blind."""
    if elsewhere([node]):
        return
    keys = {name: ask(WatchState, name, **_here(watch, name == node))["host_key"] for name in addresses}
    lines = [
        f"{','.join(addresses[name])} {' '.join(key.split()[:2])}\n" for name, key in keys.items() if key is not None
    ]
    entry = File(path, "".join(lines).encode())
    found = ask(FileStates, paths=[path])[path]
    if not entry.differs(found) or not drifted(path, told_state(found), entry.described):
        host.noop("the hosts' keys are known")
        return
    yield put_command([entry])


@operation(drift=Drift.HEAL)
def key_authorized(watch: Mapping[str, Any], node: str, origin: Sequence[str]) -> Commands:
    """Let the reconciler's key log in on this host, from its own host only, and without a terminal or forwarding."""
    key = ask(WatchState, node, **_here(watch, True))["key"]
    found = ask(WatchState, **_here(watch, host.name == node))["authorized"]
    line = f'from="{",".join(origin)}",restrict {key}'
    if found == [line]:
        host.noop("the reconciler's key may log in")
        return
    if not drifted("authorized_keys", f"{len(found)} such keys, other than described", "the reconciler's key"):
        return
    program = Path(__file__).with_name("put_key.py").read_text(encoding="utf-8")
    told = {"login": watch["login"], "comment": watch["comment"], "line": line}
    yield Command("python3", "-c", QuoteString(program), _stdin=json.dumps(told))


def _here(watch: Mapping[str, Any], on_node: bool) -> dict[str, Any]:
    """The question for a host: the reconciler's own files are on its host only."""
    return {**watch} if on_node else {**watch, "environment": "", "project": ""}


def _told(found: Sequence[Any] | None) -> str:
    return f"{str(found[0])[:12]} {found[1]}" if found else "absent"

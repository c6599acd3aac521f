"""The reconciler on its host: user, key, the project as deployed, its environment; and its key on every host."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from gx10_host import ENTRY
from pyinfra import host
from pyinfra.api.command import QuoteString

from gx10.described import watch_files
from gx10.described.authorized import described_line, key_of, settled
from gx10.described.entries import File
from gx10.drift.classes import Drift
from gx10.facts import FileStates, WatchState
from gx10.probes import writer_words

from .files import put_command, told_state, topmost
from .loop.asking import ask
from .loop.commands import Command, Commands, Narrated, elsewhere, refuse
from .loop.declared import drifted, operation

ENVIRONMENT_PROGRAM = (ENTRY, "environment")
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
def project_deployed(
    watch: Mapping[str, Any], node: str, files: Mapping[str, bytes], restore: Sequence[str]
) -> Commands:
    """Have the project, file by file as it is deployed from; whatever does not belong is taken away.

    It is a copy that only deploys write, and what lies in it is run as root everywhere: byte code, a package or a link
    of a module's name would be loaded in place of the module. A run of the reconciler finds the copy put back already,
    from its archive and before anything of it was loaded; what was found then is told here.
    """
    if elsewhere([node]):
        return
    answer, root = ask(WatchState, **watch), watch["project"]
    found = answer["project"]
    told_already = [path for path, state in answer["restored"].items() if drifted(path, state, "as it was deployed")]
    parents = sorted({str(parent) for name in files for parent in PurePosixPath(name).parents})
    wanted = {name: ["directory", "755", 0] for name in parents}
    wanted |= {name: [hashlib.sha256(text).hexdigest(), "644", 0] for name, text in files.items()}
    wrong = [
        name
        for name, described in wanted.items()
        if found.get(name) != described and drifted(str(Path(root, name)), _told(found.get(name)), _told(described))
    ]
    strangers = [
        name
        for name in topmost(name for name in found if name not in wanted)
        if drifted(f"{root}/{name}", "a directory" if found[name][0] == "directory" else "a file", "absent")
    ]
    if not wrong and not strangers and not told_already:
        host.noop(f"{len(files)} files are as described")
        return
    if wrong or strangers:
        yield Command(*(QuoteString(word) for word in restore))
    if told_already:
        yield Command("rm", "-f", "--", QuoteString(watch["restored"]))


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
    words = [*ENVIRONMENT_PROGRAM, "--wheels", wheels, "--lock", lock_file, "--to", watch["environment"]]
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
def key_authorized(watch: Mapping[str, Any], node: str | None, origin: Sequence[str]) -> Commands:
    """Let the reconciler's key log in on this host, from its own host only, and without a terminal or forwarding.

    One line is its own, whatever it was called before; keys of former reconcilers go. With no `node` none may log in.
    """
    key = ask(WatchState, node, **_here(watch, True))["key"] if node else None
    found = ask(WatchState, **_here(watch, host.name == node))["authorized"]
    wanted: str | None = None
    if node:
        if key is not None and key_of(key):
            wanted = described_line(key, origin, watch["comment"])
        elif host.state.is_executing:
            yield from refuse(
                f"{watch['key']}.pub on {node} holds no single public key, expected the reconciler's. Remove both "
                "files of the key there and deploy again: another pair is made."
            )
            return
        else:
            wanted = NO_KEY  # A plan for a fresh host: its key is still to be made.
    change = settled(found, wanted)
    if not change.findings:
        host.noop("the reconciler's key may log in" if node else "no reconciler's key may log in")
        return
    acted_on = [drifted("authorized_keys", told, described) for told, described in change.findings]
    if not any(acted_on):
        return
    told = {"login": watch["login"], "remove": change.removed, "add": change.added}
    yield Command(*(QuoteString(word) for word in writer_words("key")), _stdin=json.dumps(told))


def _here(watch: Mapping[str, Any], on_node: bool) -> dict[str, Any]:
    """The question for a host: the reconciler's own files are on its host only."""
    return {**watch} if on_node else {**watch, "environment": "", "project": "", "restored": ""}


def _told(found: Sequence[Any] | None) -> str:
    return f"{str(found[0])[:12]} {found[1]}" if found else "absent"

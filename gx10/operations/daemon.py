"""The Docker daemon on a host against what it was when the described engine last answered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pyinfra import host

from gx10.described.entries import File
from gx10.described.generation import digest
from gx10.drift.classes import Drift
from gx10.drift.policy import run_directory
from gx10.facts import FileStates, HostOffer, LiveState

from .files import put_command, told_state
from .loop.asking import ask
from .loop.commands import Commands
from .loop.declared import drifted, operation


def _daemon(live: Mapping[str, Any]) -> dict[str, str]:
    """What the daemon says of itself and what configures it, by name; contents of files are digests."""
    says: dict[str, str] = ask(HostOffer, paths=[], commands=[])["docker"].get("daemon", {})
    return {**says, **ask(LiveState, **live)["daemon"]}


def _recorded(live: Mapping[str, Any]) -> dict[str, str] | None:
    """What was noted when the engine last answered; None where nothing was, or somebody wrote something else."""
    record = ask(LiveState, **live)["record"]
    if record is None or record.get("digest") != digest({"daemon": record.get("daemon")}):
        return None
    daemon: dict[str, str] = record["daemon"]
    return daemon


@operation(drift=Drift.REPORT)
def daemon_as_it_served(live: Mapping[str, Any]) -> Commands:
    """Tell in what the daemon differs from the one under which the engine last answered; change nothing.

    A restart of Docker ends the gang, and an upgrade can change how containers run: both are the owner's to choose.
    """
    recorded, now = _recorded(live), _daemon(live)
    for name in sorted({*recorded, *now}) if recorded is not None else ():
        if recorded is not None and recorded.get(name) != now.get(name):
            drifted(f"Docker daemon, {name}", now.get(name, "absent"), recorded.get(name, "absent"))
    host.noop("the daemon was compared with the one under which the engine last served")
    yield from ()


@operation(drift=Drift.GANG)
def daemon_recorded(path: str, live: Mapping[str, Any]) -> Commands:
    """Note what the daemon is, after the engine has answered under it.

    A deploy takes another daemon for good once it serves. A nightly run tells it, night after night, and notes only
    what is not noted at all: what nobody looked at must not become what was meant.
    """
    recorded, now = _recorded(live), _daemon(live)
    kept = recorded if recorded is not None and run_directory() is not None else now
    content = json.dumps({"daemon": kept, "digest": digest({"daemon": kept})}, indent=1, sort_keys=True) + "\n"
    entry, found = File(path, content.encode()), ask(FileStates, paths=[path])[path]
    if not entry.differs(found) or not drifted(path, told_state(found), entry.described):
        host.noop("the daemon is noted")
        return
    yield put_command([entry])

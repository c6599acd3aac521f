"""What a host holds for a role that it no longer has: removed, path by path, once the new role is in place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pyinfra import host
from pyinfra.api.command import QuoteString

from gx10.described.roles import Remains
from gx10.drift.classes import Drift
from gx10.facts import RoleRemains
from gx10.probes import writer_words

from .loop.asking import ask
from .loop.commands import Command, Commands
from .loop.declared import drifted, operation

KINDS = {"files": "a file of a role that this host does not have", "trees": "a directory of such a role"}


def removal(going: Mapping[str, Any]) -> Command:
    """The command that removes what a host said stands there."""
    return Command(*(QuoteString(word) for word in writer_words("away")), _stdin=json.dumps(going))


@operation(drift=Drift.HEAL)
def role_left(remains: Remains, drift: Drift | None = None) -> Commands:
    """Remove what this package put on the host for a role that is not described for it now.

    A unit that still runs a rank or an engine is not stopped here: the gang's own restart has ended it by now, or was
    put off. `drift` is the class where it is not the operation's own.
    """
    found = ask(RoleRemains, **remains.question())
    for name, why in found["others"].items():
        drifted(name, f"has a name of this package's and {why}", "absent", drift=Drift.REPORT)
    runs = [
        name
        for name, state in found["units"].items()
        if drift is Drift.GANG and state["active"] not in ("inactive", "failed") and host.state.is_executing
    ]
    for name in runs:
        drifted(name, "still runs for a role that this host does not have", "ended by the gang", drift=Drift.REPORT)
    going: dict[str, Any] = {
        kind: [path for path in found[kind] if not _of_one(path, runs) and drifted(path, what, "absent", drift=drift)]
        for kind, what in KINDS.items()
    }
    going["units"] = [
        name
        for name, state in found["units"].items()
        if name not in runs and drifted(name, f"{state['active']}, {state['enabled']}", "absent", drift=drift)
    ]
    user, home = found["user"], found["home"]
    going["user"] = user if user and drifted(f"user {user}", "a user of such a role", "absent", drift=drift) else ""
    going["home"] = home if home and drifted(home, "its home", "absent", drift=drift) else ""
    empty = [path for path in found["directories"] if not _of_one(path, runs)]
    if not any(going.values()) and not any(
        drifted(path, "an empty directory", "absent", drift=drift) for path in empty
    ):
        host.noop("nothing of another role is left")
        return
    yield removal({**going, "directories": empty})


def _of_one(path: str, units: list[str]) -> bool:
    """Whether a path is a drop-in of one of these units, or the directory of such."""
    return any(f"/{unit}.d" in path for unit in units)

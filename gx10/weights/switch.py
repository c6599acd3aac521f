"""A switch of models that is under way, noted on this node: what ends it half-way is told by the next command."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from gx10.control_node import state_directory

FILE = "switch.json"
"""Below what this node keeps of a cluster; locked by the command that switches, for as long as it lives."""


class UnderWayError(Exception):
    """Another command of this node switches this cluster."""


@dataclass(frozen=True)
class Switch:
    """From which recipe to which, and since when."""

    before: str
    after: str
    since: str


def marker(cluster: str) -> Path:
    """The file that says so."""
    return state_directory(cluster) / FILE


@contextmanager
def switching(cluster: str, before: str, after: str) -> Iterator[None]:
    """Note a switch while it lasts; it stays noted until `done`, whatever ends it. Raises UnderWayError."""
    path = marker(cluster)
    with path.open("a+", encoding="utf-8") as noted:
        try:
            fcntl.flock(noted, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            noted.seek(0)
            raise UnderWayError(
                f"Another `gx10 serve` is under way on this node: {noted.read()}. Wait for it."
            ) from None
        noted.truncate(0)
        noted.write(json.dumps(asdict(Switch(before, after, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"))))
        noted.flush()
        yield


def done(cluster: str) -> None:
    """Forget the switch: what the cluster file names is deployed, or was never begun with."""
    marker(cluster).unlink(missing_ok=True)


def left_half_way(cluster: str, cluster_file: str, recipe: str) -> str:
    """What a switch that nobody goes on with has left, and what to type; nothing where there is none.

    `recipe` is what the cluster file names.
    """
    try:
        with marker(cluster).open(encoding="utf-8") as noted:
            fcntl.flock(noted, fcntl.LOCK_SH | fcntl.LOCK_NB)
            switch = Switch(**json.load(noted))
    except (OSError, ValueError, TypeError):  # there is none, or it is under way
        return ""
    cut = f"`gx10 serve {switch.after}` of {switch.since} did not come to its end"
    if recipe == switch.before:
        return f"{cut}: {cluster_file} names {recipe} as before. `gx10 serve {switch.after}` goes on with it."
    if recipe == switch.after:
        return (
            f"{cut}: {cluster_file} names {recipe}, and {switch.before} may still be served. "
            f"`pyinfra inventory.py deploy.py` finishes the switch, `gx10 serve {switch.before}` goes back."
        )
    return ""

"""Which hosts the cluster has had, noted on all of them; those that are gone and still hold something are told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pyinfra import host
from pyinfra.api.command import QuoteString

from gx10.described.description import Description
from gx10.described.entries import File
from gx10.described.host_files import FORMER_PROGRAMS, is_former_program
from gx10.described.members import Members, members_file
from gx10.drift.classes import Drift
from gx10.drift.policy import run_directory
from gx10.facts import FileStates, Kept, LiveState

from .files import put_command, told_state
from .loop.asking import ask
from .loop.commands import Command, Commands, elsewhere
from .loop.declared import drifted, operation


def members_question(description: Description) -> dict[str, Any]:
    """What a host is asked for its record."""
    return {"read": {"hosts": members_file(description)}}


def members_known(description: Description, hosts: Iterable[str]) -> Members:
    """The newest record of these hosts."""
    question = members_question(description)
    return Members.newest(ask(Kept, name, **question)["read"]["hosts"] for name in hosts)


@operation(drift=Drift.HEAL)
def former_programs_left(description: Description, live: Mapping[str, Any]) -> Commands:
    """Remove programs that an earlier version of this package put here, and their directory once nothing is in it.

    Programs of somebody else's in that directory are told; whatever else lies where it should not is told elsewhere.
    """
    former = members_known(description, description.cluster.hosts).former_programs(description)
    extra, directory = ask(LiveState, **live)["extra"], f"/{FORMER_PROGRAMS}"
    there = {path for paths in extra.values() for path in paths}
    going = [path for path in former if path in there and drifted(path, "a program of an earlier version", "absent")]
    # A deploy by hand has taken its byte code away by now.
    byte_code = f"{directory}/__pycache__" if run_directory() is None else "//"
    others = [path for path in extra.get(directory, ()) if path not in former and not path.startswith(byte_code)]
    for path in (path for path in others if is_former_program(path)):
        drifted(path, "something that nobody described", "absent", drift=Drift.REPORT)
    stands = (ask(FileStates, paths=[directory])[directory] or {}).get("kind") == "directory"
    empty = stands and not others and drifted(directory, "the directory of an earlier version", "absent")
    if not going and not empty:
        host.noop("no program of an earlier version is left")
        return
    words = ["rm", "-f", "--", *(QuoteString(path) for path in going)] if going else ["true"]
    yield Command(*words, *(("&&", "rmdir", "--", directory) if empty else ()))


@operation(drift=Drift.HEAL)
def members_noted(description: Description) -> Commands:
    """Have the same record of the cluster's hosts on every host."""
    path = members_file(description)
    entry = File(path, members_known(description, description.cluster.hosts).with_described(description).text())
    found = ask(FileStates, paths=[path])[path]
    if not entry.differs(found) or not drifted(path, told_state(found), entry.described):
        host.noop("the cluster's hosts are noted")
        return
    yield put_command([entry])


@operation(drift=Drift.REPORT)
def gone_told(description: Description) -> Commands:
    """Tell of hosts that are no longer described and were not retired; change nothing."""
    if elsewhere([description.cluster.head]):
        return
    for name in members_known(description, description.cluster.hosts).gone(description):
        drifted(name, f"no longer described: `gx10 retire {name}` removes what is there")
    host.noop("hosts that are gone were told")
    yield from ()

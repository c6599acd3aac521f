"""`@operation` as this package declares it: with the class of its drift, and with a note of everything that differs.

An operation names what differs with `drifted()`, which also says whether to act on it: what an ignore rule names, or
what a nightly run puts off, stays as it is. The notes of a run are the lines of its journal.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache, wraps
from typing import ParamSpec

from pyinfra import host, logger
from pyinfra.api import operation as pyinfra_operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.operation import PyinfraOperation

from gx10.described.description import described_by_environment
from gx10.drift.classes import ACTED_ON, Drift
from gx10.drift.findings import Finding
from gx10.drift.policy import JOURNAL_FILE, Hold, Policy, run_directory
from gx10.printable import printable

from . import invocation

P = ParamSpec("P")
Body = Callable[P, Generator[PyinfraCommand, None, None]]


@dataclass(frozen=True)
class Declared:
    """What an operation says of itself."""

    drift: Drift
    artifact: bool = False
    """Whether it brings something that the next generation needs in place before the gang is stopped."""
    goes_on: str = ""
    """What goes on by itself when the run is interrupted in the middle of it; a part of a sentence."""


@dataclass
class _Looking:
    """One operation while it looks at one host."""

    operation: str
    declared: Declared
    findings: list[Finding] = field(default_factory=list)


CONSEQUENCES = {
    Drift.RESTART: "RESTARTS THE GANG: running requests end first, then nothing is served until it has started",
}
"""What acting on a class of drift means for whoever is served, where it means something."""

DECLARED: dict[str, Declared] = {}
"""Every operation of this package by module and name."""

_looking: dict[str, _Looking] = {}
"""The operation that each host is at: pyinfra runs one at a time on a host, and `drifted` is called inside of it."""
_writing = threading.Lock()


def operation(*, drift: Drift, artifact: bool = False, goes_on: str = "") -> Callable[[Body[P]], PyinfraOperation[P]]:
    """Declare an operation with the class of what it finds."""
    declared = Declared(drift, artifact, goes_on)

    def decorate(body: Body[P]) -> PyinfraOperation[P]:
        function = f"{body.__module__.rpartition('.')[2]}.{body.__name__}"
        DECLARED[function] = declared

        @wraps(body)
        def looked(*args: P.args, **kwargs: P.kwargs) -> Generator[PyinfraCommand, None, None]:
            if function in policy().skipped:
                host.noop("taken over by the reconciler")
                return
            with _noted(function, declared) as count:
                for command in body(*args, **kwargs):
                    count[0] += 1
                    yield command

        decorated: PyinfraOperation[P] = pyinfra_operation()(looked)
        return decorated

    return decorate


def drifted(subject: str, found: object = "", described: object = "", *, drift: Drift | None = None) -> bool:
    """Note that something is not as described; returns whether to act on it.

    `found` and `described` are names, numbers and digests, never contents: they stand in reports.
    """
    looking, subject = _looking[host.name], printable(subject)
    kind = drift or looking.declared.drift
    left = policy().left(looking.operation, host.name, subject, kind)
    told = Finding(subject, _short(found), _short(described), kind, left)
    looking.findings.append(told)
    if run_directory() is None and (left or kind not in ACTED_ON):
        because = f" Left alone: {left}." if left else " It is reported only."
        differs = f"is {told.found}, described {told.described}" if told.described else told.found
        logger.warning(f"{host.print_prefix}{subject}: {differs}.{because}")
    acts = not left and kind in ACTED_ON
    if acts and kind in CONSEQUENCES:
        _announce(CONSEQUENCES[kind])
    return acts


def _announce(consequence: str) -> None:
    """Have pyinfra's own plan say what an operation would do, beside its name, before it asks whether to go on.

    Whoever reads JSON takes operations by their bare names, as does the reconciler, which says it in its report.
    """
    identity = host.current_op_hash
    if not invocation.read_by_a_person or identity is None:
        return
    beside = host.state.op_meta[identity].args
    if consequence not in beside:
        beside.append(consequence)


def goes_on(where: str) -> str:
    """What the operation that a host is at leaves to go on by itself, where it says so."""
    return _looking[where].declared.goes_on if where in _looking else ""


@cache
def policy() -> Policy:
    """What this run may act on: its own policy, and always the cluster's ignore rules.

    The one value that no task hands on: whatever deploy or operation is run, and by whichever inventory, what its owner
    wants left alone is left alone. It is read once in a process.
    """
    rules = tuple(
        Hold(f"ignored: {rule.reason}", rule.operation, rule.host, rule.subject)
        for rule in described_by_environment().cluster.reconcile.ignore
    )
    directory = run_directory()
    return (Policy.read(directory) if directory else Policy()).with_holds(rules)


def note(**told: object) -> None:
    """Append a line to the journal of this run; in a deploy by hand there is none."""
    if (directory := run_directory()) is None:
        return
    line = (json.dumps(told) + "\n").encode()
    with _writing:
        descriptor = os.open(directory / JOURNAL_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)


@contextmanager
def _noted(function: str, declared: Declared) -> Iterator[list[int]]:
    """Note what an operation finds while it looks; it may be left in the middle, as soon as it wants to change."""
    name, where, executing = _name(), host.name, host.state.is_executing
    looking = _looking[where] = _Looking(name, declared)
    count = [0]
    try:
        yield count
    finally:
        note(
            stage="apply" if executing else "plan",
            host=where,
            operation=name,
            function=function,
            drift=declared.drift,
            artifact=declared.artifact,
            changes=count[0] > 0,
            findings=[asdict(finding) for finding in looking.findings],
        )


def _name() -> str:
    """The operation's name, as pyinfra prints it in its plan."""
    identity = host.current_op_hash
    if identity is None:
        raise RuntimeError("an operation is looked at outside of one")
    found = host.state.op_meta[identity].names
    return ", ".join(sorted(found))


def _short(value: object) -> str:
    text = " ".join(printable(value).split())
    return text if len(text) <= 120 else f"{text[:119]}…"

"""A run as `gx10 plan` and `gx10 reconcile` make it: reported from its first moment on, published at its end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NoReturn

import click

from gx10.access.lock import LOST, LockUnknownError
from gx10.control_node import state_directory
from gx10.described.description import Description
from gx10.described.project import description_digest, revision
from gx10.drift.verdict import EXIT, INTERRUPTED, Status
from gx10.interrupts import SIGNALS, Interrupted, by, raising, tell
from gx10.reconcile.history import REPORT_FILE, History
from gx10.reconcile.memory import Memory
from gx10.reconcile.night import Night
from gx10.reconcile.publish import publish
from gx10.reconcile.report import HostReport, Report
from gx10.reconcile.runner import Runner, killed_with_us
from gx10.reconcile.tools import RealTools
from gx10.reconcile.words import in_words

MEMORY_FILE = "memory.json"
STEPS = {
    "lock": "waiting for the lock",
    "reach": "asking every host",
    "sample": "hashing a part of what is stored",
    "plan": "comparing; nothing is changed by that",
    "apply": "putting back; what a host has begun may go on there to its end",
    "drain": "waiting for running requests to end",
    "restart": "restarting the gang; the head's supervisor goes on with it, `gx10 status` shows how far it is",
    "prove": "asking the model for a completion",
}
"""What a run does in each of its steps, as one reads it on a terminal."""


@contextmanager
def reported(description: Description, mode: Literal["plan", "reconcile"]) -> Iterator[tuple[Report, Path]]:
    """A report on disk that says `failed` from the start, and an exit status that says so when a signal comes."""
    # Whoever sees that a run has begun may end it: until its report is there to say so, signals wait.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    kept = History(state_directory(description.cluster.name))
    checkout, described_as = revision(description.project), description_digest(description)
    now = datetime.now(UTC)
    directory = kept.begin(now)
    report = Report(
        run=directory.name,
        cluster=description.cluster.name,
        mode=mode,
        revision=checkout,
        description=described_as,
        reason="the run has not come to its end",
        started=now,
        hosts={name: HostReport() for name in description.cluster.hosts},
    )
    report.write(directory / REPORT_FILE)

    with raising(patient=True) as enough:
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            yield report, directory
        except Interrupted as interrupted:
            enough.set()
            report.status = Status.FAILED
            report.reason = (LOST or [f"interrupted by {signal.Signals(interrupted.number).name}"])[0]
            report.exit_status = INTERRUPTED + interrupted.number
            report.finished = datetime.now(UTC)
            report.write(directory / REPORT_FILE)
            publish(description, report, _complain)
            tell(_interrupted(report, interrupted.number))
            sys.exit(report.exit_status)


def night_of(description: Description, report: Report, directory: Path, descriptors: tuple[int, ...]) -> Night:
    """A run on the cluster itself."""
    runner = Runner(description.project, tuple(description.cluster.hosts), killed_with_us(descriptors))
    state = state_directory(description.cluster.name)
    gx10 = description.recipe.gx10
    kept = History(state)
    before = next((past for past in kept.reports() if past.run != report.run and past.mode == "reconcile"), None)
    return Night(
        description.cluster,
        RealTools(description, runner.plan, runner.apply),
        directory,
        report,
        Memory.read(state / MEMORY_FILE),
        start_seconds=gx10.drain_timeout_seconds + gx10.stop_timeout_seconds + gx10.start_timeout_seconds,
        pending_since=before.restart_pending_since if before and before.restart_pending else None,
    )


def _interrupted(report: Report, number: int) -> str:
    """What an interrupted run did, what it leaves, and what to type next."""
    lines = [f"{by(number)}, run {report.run}."]
    if report.mode == "plan":
        return " ".join([*lines, "Nothing was changed. `gx10 plan` begins again."])
    step = report.steps[-1].name if report.steps else "lock"
    lines += [f"  put back: {one.name} on {one.host}" for one in report.operations if one.applied]
    lines.append(f"  under way: {STEPS.get(step, step)}")
    lines.append("Next: `gx10 plan` shows what is left, `gx10 reconcile` goes on with it.")
    return "\n".join(lines)


def locked_out(report: Report, holder: str) -> None:
    """Another run holds the lock."""
    report.status, report.reason, report.lock_holder = Status.LOCKED, holder, holder


def unknown(description: Description, report: Report, error: LockUnknownError) -> None:
    """Nobody can say who holds the lock: the head does not answer."""
    report.hosts[description.cluster.head] = HostReport(reachable=False, reason=str(error))
    report.status, report.reason = Status.UNKNOWN, str(error)


def finish(description: Description, report: Report, *, as_json: bool) -> NoReturn:
    """Write, publish and print the report; ends with its exit status."""
    state = state_directory(description.cluster.name)
    report.exit_status = EXIT[report.status]
    report.finished = report.finished or datetime.now(UTC)
    report.write(state / "runs" / report.run / REPORT_FILE)
    publish(description, report, _complain)
    click.echo(report.model_dump_json(indent=1) if as_json else in_words(report))
    sys.exit(report.exit_status)


def _complain(sentence: str) -> None:
    click.echo(sentence, err=True)

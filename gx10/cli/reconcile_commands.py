"""`gx10 plan`, `reconcile`, `suspend`, `resume`, `history` and `diff`: the night by hand."""

from __future__ import annotations

import getpass
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import click

from gx10.access import suspension
from gx10.access.lock import LOST, LockHeldError, LockUnknownError, broken, locked, operator, shown
from gx10.control_node import state_directory, write_whole
from gx10.described import watch_files
from gx10.described.description import Description
from gx10.described.project import description_digest, revision
from gx10.drift.verdict import ERROR, EXIT, INTERRUPTED, USAGE, Status
from gx10.interrupts import SIGNALS, Interrupted, by, raising, tell
from gx10.reconcile.history import REPORT_FILE, History, compared
from gx10.reconcile.memory import Memory
from gx10.reconcile.night import Night
from gx10.reconcile.progress import shown_on_terminal
from gx10.reconcile.publish import hook, page
from gx10.reconcile.publish.metrics import FILE as METRICS_FILE
from gx10.reconcile.publish.metrics import metrics
from gx10.reconcile.report import HostReport, Report
from gx10.reconcile.runner import Runner, killed_with_us
from gx10.reconcile.told import told
from gx10.reconcile.tools import RealTools
from gx10.weights import switch

from . import described

MEMORY_FILE, PAGE_FILE = "memory.json", "index.html"
SHOWN_RUNS = 30
LEAST_REASON = 4
"""Fewest characters of a reason to suspend."""
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


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def plan(as_json: bool) -> None:
    """Show what differs from the description, and what a run would do about it; change nothing.

    Exit status: 0 in sync, 2 drift, 1 error or unknown, 75 another run holds the lock.
    """
    description = described()
    loaded = description.loaded
    if left := switch.left_half_way(description.cluster.name, loaded.cluster_file, description.cluster.recipe):
        click.echo(left, err=True)
    with _reported(description, "plan") as (report, directory):
        try:
            if holder := shown(description):
                _locked_out(report, f"{description.cluster.head} is locked by {holder}")
            else:
                with shown_on_terminal(report, directory, STEPS):
                    _night(description, report, directory, descriptors=()).run()
        except LockUnknownError as error:
            _unknown(description, report, error)
    _finish(description, report, as_json=as_json)


@click.command()
@click.option("--nightly", is_flag=True, help="As the timer runs it: wait for the lock, write metrics.")
@click.option("--any-time", is_flag=True, help="Restart the gang where that is due, whatever the window says.")
@click.option("--no-sample", is_flag=True, help="Hash no content.")
@click.option("--checks/--no-checks", default=None, help="Check every node; by default when something was put back.")
@click.option("--reason", default="reconciliation", show_default=True, help="What the lock says that this run is.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def reconcile(  # noqa: PLR0917 - click passes options by name
    nightly: bool, any_time: bool, no_sample: bool, checks: bool | None, reason: str, as_json: bool
) -> None:
    """Find what differs, put back what is safe to, and prove that the model answers.

    Exit status: 0 in sync, 2 drift left, 1 error or unknown, 75 another run holds the lock, 130 and 143 interrupted.
    """
    description = described()
    settings = description.cluster.reconcile
    with _reported(description, "reconcile") as (report, directory):
        try:
            wait = settings.lock_wait_seconds if nightly else 0
            booting = boots_for(settings.boot_seconds) if nightly else 0
            state = state_directory(description.cluster.name)
            with (
                shown_on_terminal(report, directory, STEPS),
                locked(description, state, reason, settings.timeout_seconds, wait, booting) as lock,
            ):
                if lock.taken_over:
                    click.echo(f"{lock.taken_over[:1].upper()}{lock.taken_over[1:]}.", err=True)
                night = _night(description, report, directory, descriptors=lock.descriptors)
                night.any_time, night.sample, night.checks = any_time, not no_sample, checks
                night.silence_seconds = boots_for(settings.boot_seconds) if nightly else 0
                night.run()
                night.memory.write(state / MEMORY_FILE)
        except LockHeldError as error:
            _locked_out(report, str(error))
        except LockUnknownError as error:
            _unknown(description, report, error)
    _finish(description, report, as_json=as_json)


def boots_for(boot_seconds: float) -> float:
    """For how long yet the others of a cluster may be booting, since this host has just booted itself."""
    return max(0.0, boot_seconds - time.clock_gettime(time.CLOCK_BOOTTIME))


@click.command()
def unlock() -> None:
    """Take the cluster's lock from whoever holds it, and do nothing else.

    Only when you are sure that the holder does nothing any more: two runs at once undo each other's work.
    """
    description = described()
    try:
        was = broken(description)
    except LockUnknownError as error:
        click.echo(str(error), err=True)
        sys.exit(ERROR)
    click.echo(f"Took the lock from {was}." if was else f"Nobody holds the lock on {description.cluster.head}.")


@click.command()
@click.argument("reason")
@click.option("--until", "end", default="12h", show_default=True, help="12h, 3d, 2w, or a date and time.")
def suspend(reason: str, end: str) -> None:
    """Let no run change anything until a moment.

    REASON is what everybody will read: at least four characters, such as "new switch".
    """
    description = described()
    now = datetime.now(description.cluster.reconcile.zone)
    try:
        until = suspension.until(end, now)
    except ValueError as error:
        click.echo(str(error), err=True)
        sys.exit(USAGE)
    if len(reason.strip()) < LEAST_REASON:
        click.echo(
            f"The reason {reason!r} has fewer than {LEAST_REASON} characters. Say why, so that whoever finds it knows "
            'what to ask: gx10 suspend "new switch" --until 3d',
            err=True,
        )
        sys.exit(USAGE)
    answer = suspension.suspend(description, suspension.Suspension(reason, until, operator()))
    if not answer.ok:
        click.echo(f"{answer.host}: {answer.reason}", err=True)
        sys.exit(ERROR)
    click.echo(f"Suspended until {until:%Y-%m-%d %H:%M %Z}. `gx10 resume` ends it earlier.")


@click.command()
def resume() -> None:
    """End a suspension."""
    answer = suspension.resume(described())
    if not answer.ok:
        click.echo(f"{answer.host}: {answer.reason}", err=True)
        sys.exit(ERROR)
    click.echo("Runs change things again.")


@click.command()
@click.option("--count", default=20, show_default=True, help="How many runs.")
@click.option("--show", metavar="RUN", help="Show one run: its name, the beginning of it, or -1 for the latest.")
@click.option("--json", "as_json", is_flag=True, help="Print reports as JSON.")
@click.option("--tell", is_flag=True, help="Write metrics and page anew, and tell the hook what it was not told.")
def history(count: int, show: str | None, as_json: bool, tell: bool) -> None:
    """List the runs of this user on this node, the latest first.

    The nightly runs are the reconciler's, on its own node: `runuser -u gx10-reconcile -- /opt/gx10/bin/gx10 history`.
    """
    description = described()
    kept = History(state_directory(description.cluster.name))
    if tell:
        _tell_what_was_not_told(description, kept)
        return
    reports = [_found(kept, show)] if show else list(kept.reports(count))
    if as_json:
        click.echo("[" + ",\n".join(report.model_dump_json() for report in reports) + "]")
    elif show:
        click.echo(told(reports[0]))
    else:
        click.echo(_whose(description, kept), err=True)
        for report in reports:
            left = f", {len(report.left)} left" if report.left else ""
            click.echo(f"{report.run}  {report.mode:9}  {report.status:10}  {len(report.operations)} found{left}")


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("before")
@click.argument("after")
def diff(before: str, after: str) -> None:
    """Compare two runs of this node by name; -1 is the latest, -2 the one before it."""
    kept = History(state_directory(described().cluster.name))
    for line in compared(_found(kept, before), _found(kept, after)):
        click.echo(line)


def _whose(description: Description, kept: History) -> str:
    """Whose runs are listed, and where the others are."""
    own = f"Runs of {getpass.getuser()} on {socket.gethostname()}, kept in {kept.root}."
    if not description.cluster.reconcile.enabled or getpass.getuser() == watch_files.USER:
        return own
    node = watch_files.node(description)
    there = f"runuser -u {watch_files.USER} -- {watch_files.COMMAND} history"
    return f"{own} The nightly ones are on {node}: as root there, `{there}`."


def _found(kept: History, name: str) -> Report:
    try:
        return kept.report(name)
    except (LookupError, OSError, ValueError) as error:
        click.echo(str(error), err=True)
        sys.exit(USAGE)


def _night(description: Description, report: Report, directory: Path, descriptors: tuple[int, ...]) -> Night:
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


@contextmanager
def _reported(description: Description, mode: Literal["plan", "reconcile"]) -> Iterator[tuple[Report, Path]]:
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
            _publish(description, report)
            tell(_interrupted(report, interrupted.number))
            sys.exit(report.exit_status)


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


def _locked_out(report: Report, told: str) -> None:
    report.status, report.reason, report.lock_holder = Status.LOCKED, told, told


def _unknown(description: Description, report: Report, error: LockUnknownError) -> None:
    report.hosts[description.cluster.head] = HostReport(reachable=False, reason=str(error))
    report.status, report.reason = Status.UNKNOWN, str(error)


def _finish(description: Description, report: Report, *, as_json: bool) -> None:
    """Write, publish and print the report; ends with its exit status."""
    state = state_directory(description.cluster.name)
    report.exit_status = EXIT[report.status]
    report.finished = report.finished or datetime.now(UTC)
    report.write(state / "runs" / report.run / REPORT_FILE)
    _publish(description, report)
    click.echo(report.model_dump_json(indent=1) if as_json else told(report))
    sys.exit(report.exit_status)


def _publish(description: Description, report: Report) -> None:
    """Metrics, page, summary and hook: what fails here is told and changes no verdict."""
    settings, state = description.cluster.reconcile, state_directory(description.cluster.name)
    kept = History(state)
    kept.keep(report, settings.keep)
    past = list(kept.reports(SHOWN_RUNS))
    write_whole(state / PAGE_FILE, page.page(report.cluster, past), 0o644)
    if report.mode != "reconcile":
        return
    text = metrics(report, _last_success(kept))
    write_whole(state / METRICS_FILE, text, 0o644)
    public = Path(os.environ.get("GX10_METRICS", ""))
    if public.name:
        try:
            write_whole(public / METRICS_FILE, text, 0o644)
        except OSError as error:
            click.echo(f"the metrics could not be written: {error}", err=True)
    for untold in [*kept.untold(report.cluster), report]:
        _tell_hook(description, kept, untold)


def _tell_hook(description: Description, kept: History, report: Report) -> None:
    """Tell the owner's hook of a run, once; signals wait until it is noted."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        if kept.hook_was_told(report.run):
            return
        if failed := hook.tell(description.cluster.reconcile.hook, report):
            click.echo(failed, err=True)
        elif (kept.runs / report.run).is_dir():
            kept.note_hook(report.run)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _tell_what_was_not_told(description: Description, kept: History) -> None:
    """For the unit that systemd starts when the nightly one has failed: every run that could not tell of itself, and
    that there was none where it failed before one began."""
    for report in kept.untold(description.cluster.name):
        _publish(description, report)
    failed, unit = os.environ.get("MONITOR_INVOCATION_ID", ""), os.environ.get("MONITOR_UNIT", "")
    if failed and not kept.made_by(failed):
        now = datetime.now(UTC)
        result, status = (os.environ.get(f"MONITOR_{name}", "unknown") for name in ("SERVICE_RESULT", "EXIT_STATUS"))
        reason = f"{unit} failed before a run began ({result}, status {status}): read `journalctl -u {unit}`"
        none = Report(
            run="none", cluster=description.cluster.name, mode="reconcile", started=now, finished=now, reason=reason
        )
        write_whole(kept.root / METRICS_FILE, metrics(none, _last_success(kept)), 0o644)
        if told_not := hook.tell(description.cluster.reconcile.hook, none):
            click.echo(told_not, err=True)
            sys.exit(ERROR)


def _last_success(kept: History) -> datetime | None:
    good = (Status.IN_SYNC, Status.HEALED)
    past = kept.reports(SHOWN_RUNS)
    return next((one.finished for one in past if one.mode == "reconcile" and one.status in good), None)

"""`gx10 plan`, `reconcile`, `suspend`, `resume`, `history` and `diff`: the night by hand."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Literal

import click

from gx10.cli import described
from gx10.engine.description import Description
from gx10.reconcile import hook, page, suspension
from gx10.reconcile.described import description_digest, revision
from gx10.reconcile.history import REPORT_FILE, History, compared, state_directory
from gx10.reconcile.lock import LockHeldError, LockUnknownError, broken, locked, operator, shown
from gx10.reconcile.memory import Memory
from gx10.reconcile.metrics import FILE as METRICS_FILE
from gx10.reconcile.metrics import metrics
from gx10.reconcile.night import Night
from gx10.reconcile.report import HostReport, Report, write_whole
from gx10.reconcile.runner import Runner, killed_with_us
from gx10.reconcile.told import told
from gx10.reconcile.tools import RealTools
from gx10.reconcile.verdict import ERROR, EXIT, INTERRUPTED, USAGE, Status

MEMORY_FILE, PAGE_FILE = "memory.json", "index.html"
SHOWN_RUNS = 30


class InterruptedRunError(BaseException):
    """A signal asked this process to end; no handler of errors may swallow it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def plan(as_json: bool) -> None:
    """Show what differs from the description, and what a run would do about it; change nothing.

    Exit status: 0 in sync, 2 drift, 1 error or unknown, 75 another run holds the lock.
    """
    description = described()
    with _reported(description, "plan") as (report, directory):
        try:
            if holder := shown(description):
                _locked_out(report, f"{description.cluster.head} is locked by {holder}")
            else:
                _night(description, report, directory, descriptors=()).run()
        except LockUnknownError as error:
            _unknown(description, report, error)
    _finish(description, report, as_json=as_json)


@click.command()
@click.option("--nightly", is_flag=True, help="As the timer runs it: wait for the lock, write metrics.")
@click.option("--any-time", is_flag=True, help="Restart the gang where that is due, whatever the window says.")
@click.option("--no-sample", is_flag=True, help="Hash no content.")
@click.option("--checks/--no-checks", default=None, help="Check every node; by default when something was put back.")
@click.option("--break-lock", is_flag=True, help="Take the lock from whoever holds it.")
@click.option("--reason", default="reconciliation", show_default=True, help="What the lock says that this run is.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def reconcile(  # noqa: PLR0917 - click passes options by name
    nightly: bool, any_time: bool, no_sample: bool, checks: bool | None, break_lock: bool, reason: str, as_json: bool
) -> None:
    """Find what differs, put back what is safe to, and prove that the model answers.

    Exit status: 0 in sync, 2 drift left, 1 error or unknown, 75 another run holds the lock, 130 and 143 interrupted.
    """
    description = described()
    settings = description.cluster.reconcile
    with _reported(description, "reconcile") as (report, directory):
        try:
            if break_lock and (was := broken(description)):
                click.echo(f"Took the lock from {was}.", err=True)
            wait = settings.lock_wait_seconds if nightly else 0
            booting = boots_for(settings.boot_seconds) if nightly else 0
            state = state_directory(description.cluster.name)
            with locked(description, state, reason, settings.timeout_seconds, wait, booting) as lock:
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
@click.argument("reason")
@click.option("--until", "end", default="12h", show_default=True, help="12h, 3d, 2w, or a date and time.")
def suspend(reason: str, end: str) -> None:
    """Let no run change anything until a moment; REASON is what everybody will read."""
    description = described()
    now = datetime.now(description.cluster.reconcile.zone)
    try:
        until = suspension.until(end, now)
    except ValueError as error:
        click.echo(str(error), err=True)
        sys.exit(USAGE)
    if len(reason.strip()) < 4:
        click.echo("say why, so that whoever finds it knows whom to ask", err=True)
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
    """List the runs that this node has made, the latest first."""
    description = described()
    kept = History(state_directory(description.cluster.name))
    if tell:
        try:
            _publish(description, kept.latest(description.cluster.name))
        except LookupError as error:
            click.echo(str(error), err=True)
            sys.exit(ERROR)
        return
    reports = [_found(kept, show)] if show else list(kept.reports(count))
    if as_json:
        click.echo("[" + ",\n".join(report.model_dump_json() for report in reports) + "]")
    elif show:
        click.echo(told(reports[0]))
    else:
        for report in reports:
            left = f", {len(report.left)} left" if report.left else ""
            click.echo(f"{report.run}  {report.mode:9}  {report.status:10}  {len(report.operations)} found{left}")


@click.command()
@click.argument("before")
@click.argument("after")
def diff(before: str, after: str) -> None:
    """Compare two runs by name; -1 is the latest, -2 the one before it."""
    kept = History(state_directory(described().cluster.name))
    for line in compared(_found(kept, before), _found(kept, after)):
        click.echo(line)


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
    signals = (signal.SIGINT, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
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

    def end(number: int, _frame: FrameType | None) -> None:
        # A second signal must not cut off what the first one has begun to put in order.
        signal.signal(number, signal.SIG_IGN)
        raise InterruptedRunError(number)

    for number in signals:
        signal.signal(number, end)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        yield report, directory
    except InterruptedRunError as interrupted:
        report.status = Status.FAILED
        report.reason = f"interrupted by {signal.Signals(interrupted.number).name}"
        report.exit_status = INTERRUPTED + interrupted.number
        report.finished = datetime.now(UTC)
        report.write(directory / REPORT_FILE)
        _publish(description, report)
        click.echo(f"{report.run}: {report.reason}. What was begun is finished by the next run.", err=True)
        sys.stdout.flush()
        sys.exit(report.exit_status)


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
    good = (Status.IN_SYNC, Status.HEALED)
    last_success = next((one.finished for one in past if one.mode == "reconcile" and one.status in good), None)
    text = metrics(report, last_success)
    write_whole(state / METRICS_FILE, text, 0o644)
    public = Path(os.environ.get("GX10_METRICS", ""))
    if public.name:
        try:
            write_whole(public / METRICS_FILE, text, 0o644)
        except OSError as error:
            click.echo(f"the metrics could not be written: {error}", err=True)
    if kept.hook_was_told(report.run):
        return
    if failed := hook.tell(settings.hook, report):
        click.echo(failed, err=True)
        return
    kept.note_hook(report.run)

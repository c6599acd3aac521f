"""What a night tells others: a page, metrics and the owner's hook."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from gx10_host.write.whole import write_whole

from gx10.control_node import state_directory
from gx10.described.description import Description
from gx10.drift.verdict import Status
from gx10.interrupts import SIGNALS

from ..history import History
from ..report import Report
from . import hook, metrics, page

PAGE_FILE = "index.html"
SHOWN_RUNS = 30

Complain = Callable[[str], None]
"""Takes a sentence about what could not be told."""


def publish(description: Description, report: Report, complain: Complain) -> None:
    """Metrics, page, summary and hook: what fails here is told and changes no verdict."""
    settings, state = description.cluster.reconcile, state_directory(description.cluster.name)
    kept = History(state)
    kept.keep(report, settings.keep)
    past = list(kept.reports(SHOWN_RUNS))
    write_whole(state / PAGE_FILE, page.page(report.cluster, past).encode())
    if report.mode != "reconcile":
        return
    text = metrics.metrics(report, _last_success(kept))
    write_whole(state / metrics.FILE, text.encode())
    public = Path(os.environ.get("GX10_METRICS", ""))
    if public.name:
        try:
            write_whole(public / metrics.FILE, text.encode())
        except OSError as error:
            complain(f"the metrics could not be written: {error}")
    for untold in [*kept.untold(report.cluster), report]:
        _tell_hook(description, kept, untold, complain)


def _tell_hook(description: Description, kept: History, report: Report, complain: Complain) -> None:
    """Tell the owner's hook of a run, once; signals wait until it is noted."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        if kept.hook_was_told(report.run):
            return
        if failed := hook.tell(description.cluster.reconcile.hook, report):
            complain(failed)
        elif (kept.runs / report.run).is_dir():
            kept.note_hook(report.run)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def tell_what_was_not_told(description: Description, kept: History, complain: Complain) -> bool:
    """For the unit that systemd starts when the nightly one has failed: every run that could not tell of itself, and
    that there was none where it failed before one began. Returns whether the hook took that."""
    for report in kept.untold(description.cluster.name):
        publish(description, report, complain)
    failed, unit = os.environ.get("MONITOR_INVOCATION_ID", ""), os.environ.get("MONITOR_UNIT", "")
    if failed and not kept.made_by(failed):
        now = datetime.now(UTC)
        result, status = (os.environ.get(f"MONITOR_{name}", "unknown") for name in ("SERVICE_RESULT", "EXIT_STATUS"))
        reason = f"{unit} failed before a run began ({result}, status {status}): read `journalctl -u {unit}`"
        none = Report(
            run="none", cluster=description.cluster.name, mode="reconcile", started=now, finished=now, reason=reason
        )
        write_whole(kept.root / metrics.FILE, metrics.metrics(none, _last_success(kept)).encode())
        if told_not := hook.tell(description.cluster.reconcile.hook, none):
            complain(told_not)
            return False
    return True


def _last_success(kept: History) -> datetime | None:
    good = (Status.IN_SYNC, Status.HEALED)
    past = kept.reports(SHOWN_RUNS)
    return next((one.finished for one in past if one.mode == "reconcile" and one.status in good), None)

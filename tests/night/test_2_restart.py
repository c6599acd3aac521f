"""A restart that is due: put off outside the window, done in it once the running request is answered in full."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from gx10.access.lock import hold_on_head
from gx10.described import watch_files
from gx10.described.description import describe
from gx10.drift.classes import Drift
from gx10.drift.verdict import Status
from gx10.lab.lab import Lab

from ..lab.deployment import HOSTS, gx10
from .installed import HOOK, described, hook_lines, injected, long_request, night, prometheus, step_begun, unit, until

pytestmark = pytest.mark.lab

TOKENS = 1500
"""Longer than a run takes to come to its drain, and answered within it."""


def opens_in(minutes: int) -> tuple[dict[str, object], datetime]:
    """A window that opens after so many minutes, for three hours, and when that is."""
    opening = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=minutes)
    closing = opening + timedelta(hours=3)
    clock = {"start": f"{opening:%H:%M}", "end": f"{closing:%H:%M}"}
    return {**clock, "drain_seconds": 300, "idle_seconds": 2}, opening


def start_a_rank_by_hand(host: str, lab: Lab) -> None:
    """Have a rank run with an environment that nobody described: taking that back is a restart of the gang."""
    injected(lab, host, "echo BY_HAND=1 >> /etc/gx10/ray.env; systemctl restart --no-block ray-worker.service")
    until(lambda: gx10("chat", "--tokens", "4").returncode != 0, "the gang goes down", 60)
    until(lambda: gx10("chat", "--tokens", "4").returncode == 0, "the gang serves again", 300)


def test_a_restart_waits_for_its_window_and_then_for_the_running_request(lab: Lab) -> None:
    window, opening = opens_in(4)
    with described(hook=[HOOK], lock_wait_seconds=0, window=window):
        start_a_rank_by_hand(HOSTS[3], lab)
        assert datetime.now(UTC) < opening, "the window opened before the first night: make it later"
        early = night(lab)
        assert (early.status, early.report.status) == (2, Status.DRIFTED), early.report.reason
        assert (early.report.restart_pending, early.report.restarted) == (True, False)
        waiting = [entry for entry in early.report.operations if entry.drift is Drift.RESTART]
        assert {entry.decision for entry in waiting} == {"put off"}
        assert any("the window is closed; it opens" in entry.reason for entry in waiting)
        assert prometheus(lab)['gx10_restart_pending{cluster="lab"}'] == 1
        until(lambda: datetime.now(UTC) > opening, "the window opens", 300)
        with subprocess.Popen(long_request(lab, TOKENS), stdout=subprocess.PIPE, text=True) as request:
            running_at_the_drain: list[bool] = []

            def watch() -> None:
                until(lambda: step_begun(lab, "drain"), "the run begins to drain", 120)
                running_at_the_drain.append(request.poll() is None)

            late = night(lab, watch)
            answer = request.communicate(timeout=600)[0]
        assert running_at_the_drain == [True], "the request had ended before the drain: ask for more tokens"
        assert json.loads(answer)["usage"]["completion_tokens"] == TOKENS
        assert (late.status, late.report.status) == (0, Status.HEALED), late.report.reason
        assert (late.report.restarted, late.report.restart_pending) == (True, False)
        quiet = night(lab)
        assert (quiet.status, quiet.report.operations) == (0, [])


def test_a_run_that_passes_its_time_limit_is_told_and_the_next_one_finishes(lab: Lab) -> None:
    with described(hook=[HOOK], lock_wait_seconds=600, timeout_seconds=60):
        keeper, _ = hold_on_head(describe("lab"), "a test of the time limit", 600)
        try:
            made = night(lab)
        finally:
            keeper.release()
        assert (made.status, made.report.status, made.report.reason) == (143, Status.FAILED, "interrupted by SIGTERM")
        assert unit(lab).result == "timeout"
        assert unit(lab, watch_files.FAILED).result == "success"
        assert [status for status, document in hook_lines(lab) if document["run"] == made.report.run] == ["failed"]
        assert night(lab).report.status is Status.IN_SYNC

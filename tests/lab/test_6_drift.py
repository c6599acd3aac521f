"""A night puts back what somebody did to the hosts, puts off what needs a restart, and the next one finds nothing.

`make drift` is the long form: every kind of drift, kills, requests in flight.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gx10.lab.lab import Lab
from gx10.reconcile.classes import Drift
from gx10.reconcile.classify import Decision
from gx10.reconcile.verdict import Status
from gx10.reconcile.window import DAYS

from ..drift.injections import CONTENT, FILES, GANG, OWN, REPORTED, UNITS_AND_LIVE
from ..drift.nights import host_for, inject, pairs, run, undo
from .deployment import PROJECT, gx10

pytestmark = pytest.mark.lab

CLUSTER = PROJECT / "clusters/lab.yaml"
KINDS = (FILES[0], FILES[4], UNITS_AND_LIVE[1], UNITS_AND_LIVE[6], GANG[3], CONTENT[3], OWN[0], REPORTED[2])


def moved(text: str) -> str:
    """A description that needs a restart, and whose window is closed today."""
    tomorrow = DAYS[(datetime.now(UTC) + timedelta(days=2)).weekday()]
    text = text.replace("ray:\n", "ray:\n  environment: {DRIFT_TEST: moved}\n", 1)
    return text.replace('window: {start: "00:00"', f'window: {{days: [{tomorrow}], start: "00:00"')


def test_a_night_puts_back_puts_off_and_is_followed_by_a_quiet_one(served: Lab, tmp_path: Path) -> None:
    chance = random.Random(6)  # noqa: S311 - not for secrets
    done = [(kind, host_for(kind, chance)) for kind in KINDS]
    text = CLUSTER.read_text()
    try:
        for kind, host in done:
            inject(served, kind, host)
        CLUSTER.write_text(moved(text))
        night = run(tmp_path, "reconcile", "--no-checks")
    finally:
        CLUSTER.write_text(text)
        undo(served, done)
    report = night.report
    assert (night.status, report.status) == (2, Status.DRIFTED), report.reason
    for kind, host in done:
        # What configures the gang waits with the restart: a rank that dies meanwhile must be what its peers are.
        decision = Decision.PUT_OFF if kind in GANG else kind.decision
        assert {one.decision for one in night.about(kind, host)} == {decision}, (kind.name, host, report.operations)
    assert report.restart_pending
    assert not report.restarted
    waiting = [one for one in report.operations if one.drift is Drift.RESTART]
    assert waiting
    assert {one.decision for one in waiting} == {"put off"}
    predicted, applied = pairs(report)
    assert (predicted, report.unpredicted) == (applied, [])
    # The description is what it was: what the night brought of it goes back, and the gang was never touched.
    assert run(tmp_path, "reconcile", "--no-sample", "--no-checks").report.status is Status.HEALED
    quiet = run(tmp_path, "reconcile", "--no-sample")
    assert (quiet.status, quiet.report.operations) == (0, []), quiet.report.left
    assert gx10("plan").returncode == 0

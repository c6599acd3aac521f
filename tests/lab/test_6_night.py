"""The night as it is installed: started by systemctl, it puts back what somebody did, reports, is killed, and is quiet.

`make night` is the long form: every verdict, every kind of drift, restarts in their window, the timer itself.
"""

from __future__ import annotations

import random

import pytest

from gx10.described import watch_files
from gx10.drift.verdict import Status
from gx10.lab.lab import Lab

from ..drift.injections import CONTENT, FILES, GANG, OWN, REPORTED, UNITS_AND_LIVE
from ..drift.nights import host_for, inject, pairs, undo
from ..night.installed import HEAD, commands, night, prometheus, step_begun, unit, until

pytestmark = pytest.mark.lab

KINDS = (FILES[0], FILES[4], UNITS_AND_LIVE[1], UNITS_AND_LIVE[6], GANG[3], CONTENT[3], OWN[0], REPORTED[2])


@pytest.fixture
def lab(served: Lab) -> Lab:
    """The lab, serving."""
    return served


def test_a_night_puts_back_and_reports_and_the_next_one_is_quiet(lab: Lab) -> None:
    chance = random.Random(6)  # noqa: S311 - not for secrets
    done = [(kind, host_for(kind, chance)) for kind in KINDS]
    try:
        for kind, host in done:
            inject(lab, kind, host)
        made = night(lab)
    finally:
        undo(lab, done)
    assert (made.status, made.report.status) == (2, Status.DRIFTED), made.report.reason
    for kind, host in done:
        assert {entry.decision for entry in made.about(kind, host)} == {kind.decision}, (kind.name, host)
    predicted, applied = pairs(made.report)
    assert (predicted, made.report.unpredicted) == (applied, [])
    assert len(made.report.left) == 1
    quiet = night(lab)
    assert (quiet.status, quiet.report.status, quiet.report.operations) == (0, Status.IN_SYNC, []), quiet.report.left
    assert prometheus(lab)['gx10_run_status{cluster="lab",status="in sync"}'] == 1


def test_a_killed_night_fails_its_unit_and_the_next_one_finishes(lab: Lab) -> None:
    inject(lab, FILES[0], HEAD)

    def kill() -> None:
        until(lambda: step_begun(lab, "apply"), "the run begins to put back", 60)
        lab.run(HEAD, "systemctl", "kill", "--kill-whom=main", "--signal=KILL", watch_files.SERVICE)

    made = night(lab, kill)
    assert (made.report.status, made.report.finished) == (Status.FAILED, None)
    assert unit(lab).result == "signal"
    following = night(lab)
    assert (following.status, following.report.left) == (0, []), following.report.reason


def test_the_installed_command_answers_its_user_and_root_and_nobody_else(lab: Lab) -> None:
    for who in ("root", watch_files.USER):
        status, said = commands(lab, f"{watch_files.COMMAND} plan", who)
        assert (status, said.splitlines()[0]) == (0, "lab: in sync"), said
    status, said = commands(lab, f"{watch_files.COMMAND} plan", "nobody")
    assert status == 1
    assert "Root may, and gx10-reconcile" in said

"""The timer itself: ten nights in a row that find nothing, and one that is made up for after a boot."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gx10.described import watch_files
from gx10.drift.verdict import Status
from gx10.lab.lab import Lab
from gx10.reconcile.report import Report

from ..lab.deployment import HOSTS
from .installed import HEAD, HOOK, described, ended, report, run_names, until

pytestmark = pytest.mark.lab

NIGHTS = 10
MOST_SECONDS = 10.0
MOST_OF_A_CORE = 0.01
"""Of one core on a host, over the day that a night is for."""


def made_since(lab: Lab, before: list[str]) -> list[Report]:
    """Reports of runs that have ended since."""
    found = [report(lab, name) for name in sorted(set(run_names(lab)) - set(before))]
    return [made for made in found if made.finished]


def cpu_seconds(lab: Lab, host: str) -> float:
    """What the ssh sessions of a host, and the nightly unit on the head, have used of its processors."""
    words = ("systemctl", "show", "--property=CPUUsageNSec", "--value", "ssh.service", "user.slice")
    used = lab.run(host, *words, *([watch_files.SERVICE] if host == HEAD else [])).stdout.split()
    return sum(int(value) for value in used if value.isdigit()) / 1e9


def test_ten_nights_by_the_timer_find_nothing_and_none_takes_long(lab: Lab) -> None:
    with described(hook=[HOOK], lock_wait_seconds=60, calendar="*:*:0/20", spread_seconds=0):
        before, used = run_names(lab), {host: cpu_seconds(lab, host) for host in HOSTS}
        # What was started under another calendar may still run.
        until(lambda: len(made_since(lab, before)) > NIGHTS, f"the timer makes {NIGHTS} nights", 900)
        # Or the deploy that follows finds the lock held: a night begins every twenty seconds.
        lab.run(HEAD, "systemctl", "stop", watch_files.TIMER)
        ended(lab)
        made_in_all = made_since(lab, before)
        nights = made_in_all[1 : NIGHTS + 1]
        took = {host: (cpu_seconds(lab, host) - used[host]) / len(made_in_all) for host in HOSTS}
    print("CPU of a night on each host:", {host: f"{seconds:.2f} s" for host, seconds in took.items()})
    # A night is once a day.
    assert max(took.values()) / 86400 <= MOST_OF_A_CORE
    seconds = sorted((made.finished - made.started).total_seconds() for made in nights if made.finished)
    print(f"{len(nights)} nights by the timer: median {seconds[NIGHTS // 2]:.1f} s, worst {seconds[-1]:.1f} s")
    assert [(made.status, made.operations) for made in nights] == [(Status.IN_SYNC, [])] * NIGHTS
    assert seconds[-1] <= MOST_SECONDS
    assert all(made.health_after.completion for made in nights)


def test_a_night_that_was_missed_is_made_up_for_after_the_boot(lab: Lab) -> None:
    due = datetime.now(UTC) + timedelta(seconds=75)
    with described(hook=[HOOK], calendar=f"{due:%Y-%m-%d %H:%M:%S}", spread_seconds=0):
        before = run_names(lab)
        lab.power_off(HEAD)
        until(lambda: datetime.now(UTC) > due + timedelta(seconds=5), "the night has passed", 120)
        lab.power_on(HEAD)
        until(lambda: bool(made_since(lab, before)), "the timer makes up for it", 400)
        ended(lab)
        (made,) = made_since(lab, before)
    assert made.started > due
    # The gang has lost its head: the run has it serve again, or finds that it does already.
    assert made.status in (Status.HEALED, Status.IN_SYNC), made.reason
    assert made.health_after.completion
    assert lab.run(HEAD, "systemctl", "is-enabled", watch_files.TIMER).stdout.strip() == "enabled"

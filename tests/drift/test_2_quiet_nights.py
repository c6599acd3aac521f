"""Nights with nothing injected find nothing, and cost little."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gx10.lab.lab import Lab

from ..lab.deployment import HOSTS
from .nights import run

pytestmark = pytest.mark.lab

NIGHTS = 10
MOST_SECONDS = 10
MOST_OF_A_CORE = 0.01
"""Of one core on a host, over the day that a night is for."""
CPU = "cat /sys/fs/cgroup/cpu.stat 2>/dev/null | awk '/usage_usec/ {print $2}'"


def cpu_seconds(lab: Lab, host: str) -> float:
    """What the ssh sessions of a host have used: all that a run starts there are children of sshd."""
    told = lab.run(host, "sh", "-c", "systemctl show --property CPUUsageNSec --value ssh.service user.slice")
    return sum(int(line) for line in told.stdout.split() if line.isdigit()) / 1e9


def test_ten_quiet_nights_find_nothing(lab: Lab, state: Path) -> None:
    assert run(state).status == 0
    before, began = {host: cpu_seconds(lab, host) for host in HOSTS}, time.monotonic()
    nights = [run(state, "reconcile", "--no-sample") for _ in range(NIGHTS)]
    took = {host: (cpu_seconds(lab, host) - before[host]) / NIGHTS for host in HOSTS}
    assert [night.report.operations for night in nights] == [[]] * NIGHTS
    assert [night.status for night in nights] == [0] * NIGHTS
    seconds = sorted(night.seconds for night in nights)
    steps = {step.name: step.seconds for step in nights[-1].report.steps}
    print(f"quiet night: median {seconds[NIGHTS // 2]:.1f} s, worst {seconds[-1]:.1f} s, steps {steps}")
    print(f"CPU of a night on each host: {took}; in all {time.monotonic() - began:.0f} s")
    assert seconds[NIGHTS // 2] <= MOST_SECONDS
    # A night is once a day; the bound holds even if one followed the other.
    assert max(took.values()) / 86400 <= MOST_OF_A_CORE

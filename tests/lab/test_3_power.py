"""After a power cut on all hosts the cluster serves again, and nobody had to do anything."""

from __future__ import annotations

import time

import pytest

from gx10.lab.lab import Lab

from .deployment import HOSTS, deploy, gx10

pytestmark = [pytest.mark.lab, pytest.mark.soak]

BACK_SECONDS = 300
"""Bound of a start from power on to the first completion, on two cores."""


def test_four_hosts_that_lost_power_together_serve_again_by_themselves(served: Lab) -> None:
    served.power_off(*HOSTS)
    assert gx10("status").returncode == 1
    served.power_on(*HOSTS)
    deadline = time.monotonic() + BACK_SECONDS
    while (status := gx10("status")).returncode != 0:
        assert time.monotonic() < deadline, f"not serving {BACK_SECONDS} s after power on:\n{status.stdout}"
        time.sleep(2)
    answer = gx10("chat", "--tokens", "4")
    assert answer.returncode == 0, answer.stderr
    assert deploy("-y").changed == set()

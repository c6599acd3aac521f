"""What a process calls itself, and how a step that failed is called, holds no gang up."""

from __future__ import annotations

import os
import subprocess

from gx10_host.gang import ranks
from gx10_host.gang.guard import Guard
from gx10_host.wire import Report, Started

from .host_side import wait_until


def test_a_failed_step_with_odd_words_leaves_the_report_readable() -> None:
    guard = Guard(lambda _: None)
    for step in ("this host's part", "ein Schritt \u2028 {x}", "a\nb", "x" * 5000):
        guard.run(step, lambda: 1 / 0)
    report = Report(
        key="", boot="b", time=1, idle=True, started=Started(), parts={}, available_gib=1, faults=guard.faults()
    )
    read = Report.parse(report.to_bytes())
    assert read.faults[0].step == "this host's part"
    assert all("\n" not in fault.step for fault in read.faults)


def test_an_empty_mark_is_no_rank() -> None:
    def marked(value: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["sleep", "60"], env={**os.environ, "GX10_RANK_OF": value})

    life = f"{16 * 'e'}.1"
    with marked("") as empty, marked(life) as rank:
        try:
            assert wait_until(lambda: rank.pid in ranks.found().get(life, []))
            assert empty.pid not in [pid for processes in ranks.found().values() for pid in processes]
        finally:
            empty.kill()
            rank.kill()

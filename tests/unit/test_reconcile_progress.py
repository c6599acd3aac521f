"""Whoever waits for a run at a terminal sees its step, operation, hosts and seconds; a pipe sees nothing of it."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gx10.drift.policy import JOURNAL_FILE
from gx10.reconcile.progress import View, shown_on_terminal
from gx10.reconcile.report import Report, StepReport
from gx10.settings import PROJECT

from .terminal import Terminal

STEPS = {"lock": "waiting for the lock", "plan": "comparing", "apply": "putting back"}


def report() -> Report:
    return Report(
        run="20270101T000000Z-1", cluster="lab", mode="reconcile", revision="", description="", reason="",
        started=datetime(2027, 1, 1, tzinfo=UTC), hosts={},
    )  # fmt: skip


def test_a_run_is_shown_by_step_operation_host_and_seconds(tmp_path: Path) -> None:
    told, now = report(), [100.0]
    view = View(told, tmp_path, STEPS, clock=lambda: now[0])
    assert view.step() == "lock: waiting for the lock, 0 s"
    told.steps = [StepReport(name="plan", seconds=4, told="3 differences"), StepReport(name="apply", seconds=0)]
    view.step()
    journal = tmp_path / "2-apply" / JOURNAL_FILE
    journal.parent.mkdir()
    events = [
        *({"event": "begun", "operation": "Image | Load", "host": f"gx10-{n}"} for n in (1, 2, 3)),
        {"event": "done", "operation": "Image | Load", "host": "gx10-1", "seconds": 1},
        {"event": "failed", "operation": "Image | Load", "host": "gx10-2", "seconds": 1},
    ]
    journal.write_text("".join(f"{json.dumps(event)}\n" for event in events) + '{"event": "beg')
    assert view.at_work() == ["    Image | Load, on gx10-3, 0 s"]
    now[0] += 7
    assert view.ended() == ["  plan: 3 differences (4 s)"]
    assert view.step() == "apply: putting back, 7 s"
    assert view.at_work() == ["    Image | Load, on gx10-3, 7 s"]


PROGRAM = """
import sys, time
from pathlib import Path
from tests.unit.test_reconcile_progress import STEPS, report
from gx10.reconcile.progress import shown_on_terminal
with shown_on_terminal(report(), Path(sys.argv[1]), STEPS):
    time.sleep(1)
print("verdict")
"""


def test_progress_stands_on_a_terminal_and_is_gone_afterwards(tmp_path: Path) -> None:
    words = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with Terminal(words, PROJECT, {"PYTHONPATH": str(PROJECT), "TERM": "xterm"}) as terminal:
        assert terminal.ended() == 0, terminal.seen
    assert "lock: waiting for the lock, 0 s" in terminal.seen
    assert terminal.seen.rstrip().endswith("verdict")


def test_a_pipe_sees_nothing_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with shown_on_terminal(report(), tmp_path, STEPS):
        pass
    assert capsys.readouterr() == ("", "")

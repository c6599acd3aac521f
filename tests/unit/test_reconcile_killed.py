"""A run that is interrupted at whatever step never claims success: not by its exit status, and not by its report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gx10.settings import PROJECT

STEPS = ("reach", "sample", "plan", "apply", "idle", "restart", "completion", "checks")
SECONDS = 60

DRIVER = """
import contextlib, os, pathlib, signal, sys, time
from gx10.access import access_files
from gx10.cli import reconcile as verb
from gx10.access.lock import Locked
from gx10.reconcile.history import History
from gx10.reconcile.memory import Memory
from gx10.reconcile.night import Night
from tests.unit.test_reconcile_night import RESTART, World, thing

step, mark = sys.argv[1], pathlib.Path(sys.argv[2])


class Stuck(World):
    '''A world in which one step takes for ever.'''

    def stop(self, name):
        if name == step:
            mark.touch()
            time.sleep(120)

    def reach(self):
        self.stop("reach")
        return super().reach()

    def sampled(self):
        self.stop("sample")
        return super().sampled()

    def plan(self, directory, policy):
        self.stop("plan")
        return super().plan(directory, policy)

    def apply(self, directory, policy):
        self.stop("restart" if policy.restart else "apply")
        return super().apply(directory, policy)

    def health(self, *, completion):
        self.stop("completion" if completion else "health")
        return super().health(completion=completion)

    def idle(self):
        self.stop("idle")
        return super().idle()

    def checks(self):
        self.stop("checks")
        return super().checks()


def night(description, report, directory, descriptors):
    world = Stuck([thing(), RESTART])
    return Night(description.cluster, world, directory, report, Memory(), start_seconds=1, any_time=True)


begin = History.begin


def interrupted(self, now):
    directory = begin(self, now)
    os.kill(os.getpid(), signal.SIGINT)
    return directory


access_files.missing_files = lambda _: None  # no host is asked
if step == "begin":
    History.begin = interrupted
verb.night_of = night
verb.locked = lambda *_: contextlib.nullcontext(Locked("", ()))
sys.argv = ["gx10", "--any-time"]
verb.reconcile()
"""


def start(tmp_path: Path, step: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "GX10_STATE": str(tmp_path / "state"),
        "GX10_CLUSTER": "lab",
        "PYTHONPATH": str(PROJECT),
    }
    words = [sys.executable, "-c", DRIVER, step, str(tmp_path / "reached")]
    return subprocess.Popen(
        words, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def report(tmp_path: Path) -> dict[str, object]:
    (found,) = (tmp_path / "state/lab/runs").glob("*/report.json")
    told: dict[str, object] = json.loads(found.read_text())
    return told


def signals(step: str) -> tuple[signal.Signals, ...]:
    """Every signal at one step, and one at each other: they differ in nothing else."""
    every = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
    return every if step == "apply" else (every[STEPS.index(step) % 4],)


@pytest.mark.parametrize(("step", "number"), [(step, number) for step in STEPS for number in signals(step)], ids=str)
def test_an_interrupted_run_says_so(tmp_path: Path, step: str, number: signal.Signals) -> None:
    with start(tmp_path, step) as run:
        until = time.monotonic() + SECONDS
        while not (tmp_path / "reached").exists():
            assert run.poll() is None, run.communicate()
            assert time.monotonic() < until
            time.sleep(0.02)
        run.send_signal(number)
        _, errors = run.communicate(timeout=SECONDS)
    told = report(tmp_path)
    assert told["status"] == "failed"
    if number is signal.SIGKILL:
        assert (run.returncode, told["finished"], told["exit_status"]) == (-signal.SIGKILL, None, 1)
        assert told["reason"] == "the run has not come to its end"
    else:
        assert (run.returncode, told["exit_status"]) == (128 + number, 128 + number), errors
        assert told["reason"] == f"interrupted by {number.name}"
        assert "`gx10 reconcile` goes on with it" in errors
        assert json.loads((tmp_path / "state/lab/last_run_summary.json").read_text())["status"] == "failed"
        assert 'status="failed"} 1' in (tmp_path / "state/lab/gx10_reconcile.prom").read_text()


def test_a_run_that_is_interrupted_before_its_report_is_there_says_so_too(tmp_path: Path) -> None:
    with start(tmp_path, "begin") as run:
        _, errors = run.communicate(timeout=SECONDS)
    assert run.returncode == 128 + signal.SIGINT, errors
    assert report(tmp_path)["reason"] == "interrupted by SIGINT"


def test_the_same_run_undisturbed_comes_to_its_end(tmp_path: Path) -> None:
    with start(tmp_path, "none") as run:
        output, errors = run.communicate(timeout=SECONDS)
    assert run.returncode == 0, errors
    assert report(tmp_path)["status"] == "healed"
    assert "put back with a restart of the gang" in output
    assert (tmp_path / "state/lab/index.html").read_text().startswith("<!DOCTYPE html>")

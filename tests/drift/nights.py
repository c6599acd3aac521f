"""Nights on the lab as its owner runs them, with their reports taken apart."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gx10.drift.policy import JOURNAL_FILE
from gx10.lab.lab import Lab
from gx10.reconcile.history import History
from gx10.reconcile.report import OperationReport, Report

from ..lab.deployment import HOSTS, PROJECT, command
from .injections import ARCHIVE, HEAD, MODEL, WORKERS, Injection

SECONDS = 900


@dataclass(frozen=True)
class Night:
    """One run: its exit status and its report."""

    status: int
    report: Report
    seconds: float

    def about(self, injection: Injection, host: str) -> list[OperationReport]:
        """What was reported of an injection: on its host, with a difference whose subject fits."""
        return [
            one
            for one in self.report.operations
            if one.host == host and any(re.search(injection.subject, told.subject) for told in one.differences)
        ]


def run(state: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Night:
    """Run `gx10 reconcile`, or another command that ends with a report."""
    words = [command("gx10"), *(arguments or ("reconcile",)), "--json"]
    started = time.monotonic()
    done = subprocess.run(
        words,
        cwd=PROJECT,
        env={**os.environ, "GX10_STATE": str(state), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.stdout.strip(), f"{words} ended with {done.returncode} and no report: {done.stderr}"
    report = Report.model_validate(json.loads(done.stdout))
    assert report.exit_status == done.returncode
    return Night(done.returncode, report, time.monotonic() - started)


def start(state: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a run, which hears of SIGINT also where the tests themselves do not, as in the background of a shell."""
    return subprocess.Popen(
        ["env", "--default-signal=INT", command("gx10"), *arguments],
        cwd=PROJECT,
        env={**os.environ, "GX10_STATE": str(state)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def boundaries(state: Path, step: str) -> int:
    """How many operations the latest run has ended, on all hosts, in its step of this name."""
    names = History(state / "lab").names()
    if not names:
        return 0
    found = sorted((state / "lab/runs" / names[0]).glob(f"*-{step}/{JOURNAL_FILE}"))
    return found[-1].read_text().count('"boundary"') if found else 0


def killed_at(state: Path, boundary: int, number: signal.Signals, step: str = "restart") -> tuple[int, Report] | None:
    """Run until so many operations of a step have ended, then send a signal; None when it ended before that."""
    kept = History(state / "lab")
    before = set(kept.names())
    process = start(state, "reconcile", "--no-checks", "--no-sample")
    try:
        while process.poll() is None:
            if set(kept.names()) - before and boundaries(state, step) >= boundary:
                process.send_signal(number)
                break
            time.sleep(0.005)
        process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    report = kept.report("-1")
    if process.returncode in (0, 2) and report.finished:
        return None
    return process.returncode, report


def host_for(injection: Injection, chance: random.Random) -> str:
    """A host to which it can happen."""
    return chance.choice({HEAD: HOSTS[:1], WORKERS: HOSTS[1:]}.get(injection.where, HOSTS))


def inject(lab: Lab, injection: Injection, host: str) -> None:
    """Do to a host what somebody did."""
    weights = lab.run(host, "sh", "-c", f"ls {MODEL}/*.safetensors | sort -R | head -1").stdout.strip()
    blobs = f"ls -S {ARCHIVE}/blobs/sha256/* 2>/dev/null | tail -n +2 | head -1"
    blob = lab.run(host, "sh", "-c", blobs, check=False).stdout.strip()
    lab.run(host, "sh", "-euc", f"WEIGHTS={weights}; BLOB={blob}; {injection.script}")


def undo(lab: Lab, injections: Iterable[tuple[Injection, str]]) -> None:
    """Take back what a night only reports."""
    for injection, host in injections:
        if injection.undo:
            lab.run(host, "sh", "-c", injection.undo, check=False)


def pairs(report: Report) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """What was predicted and decided to be put back, and what was changed."""
    acted = [one for one in report.operations if one.decision in ("put back", "restart")]
    predicted = {(one.name, one.host) for one in acted if one.predicted}
    return predicted, {(one.name, one.host) for one in acted if one.applied}

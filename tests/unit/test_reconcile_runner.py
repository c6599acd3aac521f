"""What pyinfra leaves open is closed: one test for each trap that gx10/reconcile/runner.py names."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gx10.drift.classes import Drift
from gx10.drift.policy import JOURNAL_FILE, RUN, Policy
from gx10.reconcile.runner import Raw, Runner, RunnerError, killed_with_us, reason_of

HOSTS = ("gx10-1", "gx10-2")
WRITE = "Host | Write"


def looked(host: str, *, stage: str = "plan", changes: bool = False, operation: str = WRITE) -> dict[str, Any]:
    """A line of the journal."""
    findings = [{"subject": "/etc/x", "found": "a", "described": "b", "drift": "heal", "left": ""}] if changes else []
    return {
        "stage": stage, "host": host, "operation": operation, "function": "files.files_described", "drift": Drift.HEAL,
        "artifact": False, "changes": changes, "findings": findings,
    }  # fmt: skip


def planned(*hosts: str, name: str = WRITE, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """An entry of pyinfra's plan."""
    return {
        "name": name, "names": [name], "args": [], "hosts_with_change": list(hosts),
        "hosts_with_conditional_change": [], **more,
    }  # fmt: skip


def result(success: list[str], error: list[str] | None = None, failed: list[str] | None = None) -> dict[str, Any]:
    """pyinfra's document after a run."""
    entry = {"name": WRITE, "names": [WRITE], "args": [], "success": success, "error": error or [], "no_change": []}
    return {"plan": [], "results": {"operations": [entry], "totals": {}, "failed_hosts": failed or []}}


class Fake:
    """A pyinfra that says and writes down what a test wants."""

    def __init__(self, told: object, journal: list[dict[str, Any]], status: int = 0, errors: str = "") -> None:
        self.told, self.journal, self.status, self.errors = told, journal, status, errors
        self.words: list[str] = []
        self.environment: dict[str, str] = {}

    def __call__(self, words: list[str], _project: Path, environment: Mapping[str, str]) -> Raw:
        self.words, self.environment = words, dict(environment)
        lines = "".join(f"{json.dumps(line)}\n" for line in self.journal)
        Path(environment[RUN], JOURNAL_FILE).write_text(lines)
        output = self.told if isinstance(self.told, str) else json.dumps(self.told)
        return Raw(self.status, output, self.errors)


def runner(fake: Fake) -> Runner:
    return Runner(Path(), HOSTS, fake)


def in_sync() -> Fake:
    return Fake({"plan": [planned()], "results": None}, [looked(host) for host in HOSTS])


def refused(fake: Fake, tmp_path: Path, *told: str) -> None:
    with pytest.raises(RunnerError) as error:
        runner(fake).plan(tmp_path, Policy())
    for word in told:
        assert word in str(error.value)


def test_a_plan_without_a_change_is_in_sync(tmp_path: Path) -> None:
    plan = runner(in_sync()).plan(tmp_path, Policy())
    assert (plan.items, plan.predicted) == ((), frozenset())


def test_status_0_with_changes_pending_is_read_from_the_document(tmp_path: Path) -> None:
    fake = Fake({"plan": [planned("gx10-2")], "results": None}, [looked("gx10-1"), looked("gx10-2", changes=True)])
    plan = runner(fake).plan(tmp_path, Policy())
    assert plan.predicted == {(WRITE, "gx10-2")}
    assert [(item.host, item.subjects) for item in plan.items] == [("gx10-2", ("/etc/x",))]


def test_1_status_0_without_a_document_as_after_sigint_is_no_success(tmp_path: Path) -> None:
    refused(Fake("Exiting upon user request!\n", [looked(host) for host in HOSTS]), tmp_path, "no result")
    refused(Fake("", [looked(host) for host in HOSTS]), tmp_path, "status 0 and no result")


def test_1_an_empty_inventory_is_no_success(tmp_path: Path) -> None:
    refused(Fake({"plan": [], "results": None}, []), tmp_path, "did not look at gx10-1, gx10-2")
    refused(Fake({"plan": [], "results": None}, [looked("gx10-1")]), tmp_path, "did not look at gx10-2")


def test_2_a_failure_without_a_document_is_an_error_with_its_reason(tmp_path: Path) -> None:
    errors = "--> Connecting\n\x1b[31m[gx10-2] gx10-2 (10.0.0.2) cannot be logged in to: timed out\x1b[0m\n"
    refused(Fake("", [looked("gx10-1")], 1, errors), tmp_path, "cannot be logged in to: timed out")


def test_2_a_failed_operation_without_a_document_is_told_from_the_journal(tmp_path: Path) -> None:
    journal = [
        looked("gx10-1", stage="apply", changes=True),
        looked("gx10-2", stage="apply", changes=True),
        {"event": "done", "host": "gx10-1", "operation": WRITE, "seconds": 0.5},
        {"event": "failed", "host": "gx10-2", "operation": WRITE, "seconds": 0.1},
    ]
    applied = runner(Fake("", journal, 1, "[gx10-2] Error: disk full")).apply(tmp_path, Policy())
    assert (applied.changed, applied.failed) == ({(WRITE, "gx10-1")}, {(WRITE, "gx10-2")})
    assert "disk full" in applied.error


def test_3_a_usage_error_is_an_error_and_no_drift(tmp_path: Path) -> None:
    refused(Fake("", [], 2, "Error: No such option: --jsn"), tmp_path, "status 2", "No such option")


def test_4_the_environment_cannot_turn_the_comparison_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYINFRA_YES", "1")
    monkeypatch.setenv("PYINFRA_FAKE_DELAY", "9")
    fake = in_sync()
    runner(fake).plan(tmp_path, Policy())
    assert not [name for name in fake.environment if name.startswith("PYINFRA_")]
    assert fake.environment["PATH"] == os.environ["PATH"]


def test_4_and_5_the_options_are_fixed(tmp_path: Path) -> None:
    fake = in_sync()
    runner(fake).plan(tmp_path, Policy())
    assert fake.words[1:] == ["inventory.py", "deploy.py", "--json", "--dry"]
    fake = Fake(result([]), [looked(host, stage="apply") for host in HOSTS])
    runner(fake).apply(tmp_path, Policy())
    assert fake.words[1:] == ["inventory.py", "deploy.py", "--json", "--yes"]


def test_6_a_conditional_operation_is_refused(tmp_path: Path) -> None:
    entry = planned(hosts_with_conditional_change=["gx10-1"])
    refused(Fake({"plan": [entry], "results": None}, [looked(host) for host in HOSTS]), tmp_path, "conditional")


def test_7_an_operation_without_a_name_is_refused_and_its_arguments_are_not_told(tmp_path: Path) -> None:
    entry = planned("gx10-1", args=["token=s3cr3t"])
    fake = Fake({"plan": [entry], "results": None}, [looked(host) for host in HOSTS])
    with pytest.raises(RunnerError, match="has no name") as error:
        runner(fake).plan(tmp_path, Policy())
    assert "s3cr3t" not in str(error.value)


def test_8_two_operations_that_became_one_are_refused(tmp_path: Path) -> None:
    entry = planned("gx10-1", names=["Host | Write", "Ray | Stop"])
    refused(Fake({"plan": [entry], "results": None}, [looked(host) for host in HOSTS]), tmp_path, "for one operation")


def test_9_what_failed_is_told_from_what_never_ran(tmp_path: Path) -> None:
    journal = [*(looked(host, stage="apply", changes=True) for host in HOSTS)]
    journal += [{"event": "failed", "host": "gx10-2", "operation": WRITE, "seconds": 0}]
    fake = Fake(result([], ["gx10-1", "gx10-2"], ["gx10-2"]), journal)
    applied = runner(fake).apply(tmp_path, Policy())
    assert (applied.failed, applied.skipped) == ({(WRITE, "gx10-2")}, {(WRITE, "gx10-1")})
    assert applied.error


def test_10_standard_input_is_closed(tmp_path: Path) -> None:
    raw = killed_with_us()([sys.executable, "-c", "import sys; print(repr(sys.stdin.read()))"], tmp_path, os.environ)
    assert (raw.status, raw.output) == (0, "''\n")


OUTLIVES = """
import os, pathlib, sys
from gx10.reconcile.runner import killed_with_us
killed_with_us()([sys.executable, "-c", "import os, pathlib, time; "
    "pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(60)"], pathlib.Path(sys.argv[1]), os.environ)
"""


def gone(process: int) -> bool:
    """Whether a process has ended; a zombie has."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_11_pyinfra_does_not_outlive_the_run(tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", OUTLIVES, str(tmp_path)]) as run:
        until = time.monotonic() + 30
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            assert time.monotonic() < until
            time.sleep(0.02)
        child = int((tmp_path / "pid").read_text())
        run.send_signal(number)
        run.wait(timeout=30)
        while not gone(child):
            assert time.monotonic() < until
            time.sleep(0.02)


def test_12_pyinfra_is_run_by_its_own_script(tmp_path: Path) -> None:
    fake = in_sync()
    runner(fake).plan(tmp_path, Policy())
    script = Path(fake.words[0])
    assert script.name == "pyinfra"
    assert "pyinfra_cli" in script.read_text(), "it patches blocking calls before anything else is imported"


def test_13_what_pyinfra_predicts_must_be_what_the_operations_said(tmp_path: Path) -> None:
    journal = [looked("gx10-1", changes=True), looked("gx10-2")]
    refused(Fake({"plan": [planned()], "results": None}, journal), tmp_path, "plan and journal differ", WRITE)
    silent = Fake({"plan": [planned("gx10-1")], "results": None}, [looked(host) for host in HOSTS])
    refused(silent, tmp_path, "plan and journal differ")


def test_the_last_line_of_a_killed_run_may_be_cut_short(tmp_path: Path) -> None:
    fake = in_sync()
    runner(fake).plan(tmp_path, Policy())
    with (tmp_path / JOURNAL_FILE).open("a") as journal:
        journal.write('{"event": "do')
    from gx10.drift.findings import Journal  # noqa: PLC0415 - only here

    assert Journal.read(tmp_path / JOURNAL_FILE).hosts("plan") == set(HOSTS)


def test_the_telling_line_of_a_log_is_found() -> None:
    log = "--> Beginning operation run...\n[gx10-1] Success\n[gx10-2] Error: no space\n--> Results:\n"
    assert reason_of(log) == "[gx10-2] Error: no space"
    assert reason_of("") == "it said nothing"

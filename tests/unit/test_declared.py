"""Every operation has a class; what it finds is noted, and what a policy holds stays as it is, under pyinfra itself."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gx10.operations
from gx10.drift.classes import Drift
from gx10.drift.findings import Journal
from gx10.drift.policy import JOURNAL_FILE, RUN, Hold, Policy
from gx10.operations.loop.declared import DECLARED
from gx10.settings import PROJECT

OPERATIONS = PROJECT / "gx10/operations"


def undeclared(module: object, name: str) -> list[str]:
    """Operations of a module that pyinfra knows and this package has no class for."""
    return [
        f"{name}.{each}"
        for each, value in vars(module).items()
        if hasattr(value, "_inner")
        and getattr(value, "__module__", "") == getattr(module, "__name__", "")
        and f"{name}.{each}" not in DECLARED
    ]


def test_every_operation_declares_its_class() -> None:
    found = []
    for _, name, _ in pkgutil.iter_modules(gx10.operations.__path__):
        found += undeclared(importlib.import_module(f"gx10.operations.{name}"), name)
    assert found == [], "declare @operation(drift=…) of gx10.operations.loop.declared"
    assert len(DECLARED) >= 20
    assert {declared.drift for declared in DECLARED.values()} >= {Drift.HEAL, Drift.RESTART, Drift.GANG, Drift.REPORT}


def test_an_operation_without_a_class_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from gx10.operations import system  # noqa: PLC0415 - the module is looked into

    monkeypatch.delitem(DECLARED, "system.sysctls_live")
    assert undeclared(system, "system") == ["system.sysctls_live"]


def test_no_task_calls_an_operation_that_has_no_class() -> None:
    own = re.compile(r"^from pyinfra(?:\.api)?\.operation|^from pyinfra\.operations|import operation$", re.MULTILINE)
    for path in [*(PROJECT / "tasks").glob("*.py"), *OPERATIONS.rglob("*.py")]:
        if path.name not in {"declared.py"}:
            text = path.read_text().replace("from .loop.declared import", "")
            assert not own.search(text), f"{path.name}: only @operation(drift=…) has a class"


def test_every_call_of_an_operation_has_a_name() -> None:
    calls = re.compile(rf"^    ({'|'.join(name.split('.')[1] for name in DECLARED)})\(\s*(\S+)", re.MULTILINE)
    for path in (PROJECT / "tasks").glob("*.py"):
        for operation, first in calls.findall(path.read_text()):
            assert first.startswith('name="'), f"{path.name}: {operation} has no name: its arguments would be told"


MADE = """
from gx10.operations.loop.declared import drifted, operation
from gx10.operations.loop.journal import watch
from gx10.drift.classes import Drift
from pyinfra import host
from pyinfra.api import deploy
from pyinfra.api.command import StringCommand
from pyinfra.context import ctx_state

watch(ctx_state.get())


@operation(drift=Drift.HEAL)
def put_back(subjects):
    wrong = [subject for subject in subjects if drifted(subject, "found", "described")]
    if not wrong:
        host.noop("nothing")
    for subject in wrong:
        yield StringCommand("put", subject)


@operation(drift=Drift.REPORT)
def tell():
    drifted("clock", "off")
    host.noop("told")
    yield from ()


@operation(drift=Drift.RESTART)
def restart():
    if drifted("gang", "older", "described"):
        yield StringCommand("restart")


@operation(drift=Drift.HEAL)
def skipped():
    yield StringCommand("never")


@operation(drift=Drift.HEAL)
def silent():
    yield StringCommand("says nothing of what differs")


@deploy("Test")
def test():
    put_back(name="Put back", subjects=["one", "two"])
    tell(name="Tell")
    restart(name="Restart")
    skipped(name="Skipped")
    silent(name="Silent")
"""
DEPLOY = "from made import test\n\ntest()\n"
INVENTORY = 'hosts = [("@fake/a", {"fake_delay": 0}), ("@fake/b", {"fake_delay": 0})]\n'
SKIPPED = ("made.skipped",)


def run(tmp_path: Path, options: list[str], policy: Policy | None) -> tuple[dict[str, object], Journal, str]:
    """pyinfra on two fake hosts, as part of a run where there is a policy."""
    (tmp_path / "made.py").write_text(MADE)
    (tmp_path / "deploy.py").write_text(DEPLOY)
    (tmp_path / "inventory.py").write_text(INVENTORY)
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PROJECT), "HOME": str(tmp_path), "GX10_CLUSTER": "lab"}
    if policy:
        policy.write(tmp_path)
        environment[RUN] = str(tmp_path)
    words = [sys.executable, "-m", "pyinfra", "inventory.py", "deploy.py", "--json", *options]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, object] = json.loads(done.stdout)
    return told, Journal.read(tmp_path / JOURNAL_FILE), done.stderr


def predicted(told: dict[str, object]) -> set[str]:
    plan = told["plan"]
    assert isinstance(plan, list)
    return {entry["name"] for entry in plan if entry["hosts_with_change"]}


def test_a_plan_is_what_the_operations_said_in_pyinfras_own_words(tmp_path: Path) -> None:
    told, journal, _ = run(tmp_path, ["--dry"], Policy())
    assert predicted(told) == {"Test | Put back", "Test | Restart", "Test | Skipped", "Test | Silent"}
    assert journal.changing("plan") == {(name, host) for name in predicted(told) for host in ("@fake/a", "@fake/b")}
    found = {one.operation: [f.subject for f in one.findings] for one in journal.looked if one.host == "@fake/a"}
    assert found["Test | Put back"] == ["one", "two"]
    assert found["Test | Tell"] == ["clock"]


def test_a_policy_holds_what_it_names_and_an_operation_skips_what_the_run_takes_over(tmp_path: Path) -> None:
    policy = Policy(False, "closed", (Hold("flaps", subject="one", host="@fake/a"),), SKIPPED)
    told, journal, _ = run(tmp_path, ["--yes"], policy)
    done = {(entry["name"], host) for entry in told["results"]["operations"] for host in entry["success"]}  # type: ignore[index]
    assert ("Test | Put back", "@fake/a") in done
    assert ("Test | Restart", "@fake/a") not in done
    left = {(one.host, f.subject): f.left for one in journal.looked for f in one.findings if f.left}
    assert left == {("@fake/a", "one"): "flaps", ("@fake/a", "gang"): "closed", ("@fake/b", "gang"): "closed"}
    assert {event["operation"] for event in journal.of("done")} >= {"Test | Put back", "Test | Restart"}
    assert len(list(journal.of("boundary"))) == 5


def test_a_deploy_by_hand_acts_on_everything_and_tells_what_it_only_reports(tmp_path: Path) -> None:
    told, journal, errors = run(tmp_path, ["--dry"], None)
    assert "Test | Restart" in predicted(told)
    assert "clock: off. It is reported only." in errors
    assert journal.looked == []


def test_an_ignore_rule_holds_in_a_deploy_by_hand_too() -> None:
    text = (PROJECT / "clusters/lab.yaml").read_text()
    rule = '  ignore:\n    - {subject: two, reason: "tried out until May"}\n'
    assert "reconcile:\n" in text
    program = (
        "import gx10.settings.load as load, gx10.described.description as d, pathlib, yaml\n"
        "from gx10.operations.loop import declared\n"
        "from gx10.settings.cluster import Cluster\n"
        f"tree = yaml.safe_load({text.replace('reconcile:' + chr(10), 'reconcile:' + chr(10) + rule)!r})\n"
        "class D: cluster = Cluster.model_validate(tree)\n"
        "declared.described_by_environment = lambda: D\n"
        "policy = declared.policy()\n"
        "from gx10.drift.classes import Drift\n"
        "print(policy.left('Host | Write', 'gx10-1', 'two', Drift.HEAL))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "ignored: tried out until May"

"""`gx10 verify`: a host that is silent is one line and 1, a difference is a line and 2, and one host is enough."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from gx10 import cli
from gx10.access.remote import Answer
from gx10.cli import verify as verify_command
from gx10.settings import PROJECT

from .good_project import GoodProject
from .terminal import CTRL_C, Terminal

HOSTS = ("gx10-1", "gx10-2", "gx10-3", "gx10-4")
DOWN = "unreachable: No route to host"


def verified(
    monkeypatch: pytest.MonkeyPatch, silent: list[set[str]], status: int, *arguments: str
) -> tuple[Result, list[list[str]]]:
    """Run the command; `silent` is who does not answer each time that hosts are asked."""
    ran: list[list[str]] = []

    def run_all(*_: object) -> dict[str, Answer]:
        now = silent.pop(0)
        return {host: Answer(host, reason=DOWN if host in now else "") for host in HOSTS}

    def run(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        ran.append(words)
        return subprocess.CompletedProcess(words, status)

    monkeypatch.setattr(verify_command, "run_all", run_all)
    monkeypatch.setattr(verify_command.subprocess, "run", run)
    return CliRunner().invoke(cli.main, ["verify", *arguments]), ran


def test_a_silent_host_is_one_line_and_no_check_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    result, ran = verified(monkeypatch, [{"gx10-2", "gx10-4"}], 0)
    assert (result.exit_code, ran) == (1, [])
    assert result.output.count(DOWN) == 2
    assert len(result.output.splitlines()) == 3


@pytest.mark.parametrize(("status", "verdict"), [(0, 0), (1, 2), (2, 1), (5, 1)])
def test_a_verdict_is_in_sync_differs_or_unknown(monkeypatch: pytest.MonkeyPatch, status: int, verdict: int) -> None:
    result, ran = verified(monkeypatch, [set(), set()], status)
    assert result.exit_code == verdict
    assert "--tb=line" in ran[0]


def test_a_host_that_falls_silent_meanwhile_is_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    result, _ = verified(monkeypatch, [set(), {"gx10-3"}], 1)
    assert (result.exit_code, "gx10-3 does not answer" in result.output) == (1, True)


def test_who_passes_arguments_has_pytests_own_output(monkeypatch: pytest.MonkeyPatch) -> None:
    _, ran = verified(monkeypatch, [set()], 0, "-v", "-k", "ports")
    assert ran[0][-3:] == ["-v", "-k", "ports"]
    assert "--tb=line" not in ran[0]


@pytest.mark.parametrize(("hosts", "asked"), [(1, False), (2, True)])
def test_checks_that_need_two_hosts_are_left_out_on_one(tmp_path: Path, hosts: int, asked: bool) -> None:
    project = GoodProject.at(tmp_path)
    tree = {**project.cluster, "hosts": dict(list(project.cluster["hosts"].items())[:hosts])}
    program = (
        "import sys, gx10.settings.cluster as c, yaml, pytest\n"
        "from types import SimpleNamespace\n"
        f"cluster = c.Cluster.model_validate(yaml.safe_load({yaml.safe_dump(tree)!r}))\n"
        "import gx10.described.description as d\n"
        "d.described_by_environment = lambda: SimpleNamespace(cluster=cluster)\n"
        "sys.exit(pytest.main(['tests/nodes', '--collect-only', '-q', '-p', 'no:cacheprovider']))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert ("test_ray_answers_the_fabric" in done.stdout) is asked
    assert "test_share_is_bound_to_the_fabric" in done.stdout
    assert "skipped" not in done.stdout


def test_ctrl_c_while_checks_run_is_a_sentence_and_130(tmp_path: Path) -> None:
    checks = tmp_path / "tests/nodes"
    checks.mkdir(parents=True)
    (checks / "test_slow.py").write_text(
        "import time, pathlib\ndef test_slow():\n    print('checks run')\n    time.sleep(60)\n"
    )
    program = (
        "import pathlib, gx10.cli.verify as v, gx10.cli as cli\n"
        "from types import SimpleNamespace\n"
        f"v.described = lambda: SimpleNamespace(project=pathlib.Path({str(tmp_path)!r}))\n"
        "v._silent = lambda _: {}\n"
        "v.QUIET = (*v.QUIET, '-s')\n"
        "cli.main()\n"
    )
    with Terminal([sys.executable, "-c", program, "verify"], PROJECT) as terminal:
        terminal.until("checks run")
        terminal.type(CTRL_C)
        assert terminal.ended() == 130, terminal.seen
    assert "Interrupted by Ctrl-C. Nothing was changed. There is no verdict" in terminal.seen
    assert "KeyboardInterrupt" not in terminal.seen

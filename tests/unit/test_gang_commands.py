"""`gx10 logs` merges by time and filters by life; `gx10 why` names who died first, with evidence."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gx10 import gang_commands, remote
from gx10.engine.description import Description, describe
from gx10.remote import Answer

from .host_side import PROGRAMS

sys.path.insert(0, str(PROGRAMS))
import gang_why


@pytest.fixture
def description() -> Description:
    """The lab's description."""
    return describe("lab")


def entry(seconds: float, message: object, **fields: str) -> str:
    """A line of `journalctl --output json`."""
    return json.dumps({"__REALTIME_TIMESTAMP": str(int(seconds * 1e6)), "MESSAGE": message, **fields})


LIFE = {"GX10_GENERATION": "abc", "GX10_LIFE": "7", "GX10_RANK": "gx10-2/ray"}


def test_lines_of_all_hosts_stand_in_the_order_of_time_and_a_silent_host_is_named(
    description: Description, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {
        "gx10-1": Answer(
            "gx10-1", value="\n".join([entry(3, "third"), entry(1, "first", _SYSTEMD_UNIT="gx10-gang.service")])
        ),
        "gx10-2": Answer("gx10-2", value=entry(2, list(b"sec\xffond"), **LIFE)),
        "gx10-3": Answer("gx10-3", reason="unreachable: no route"),
    }
    monkeypatch.setattr(remote, "run", lambda _description, host, _words, seconds: told[host])
    entries, silent = gang_commands.journal(description, tuple(told), "", "-1h")
    lines = [gang_commands.line_of(one) for one in entries]
    assert [line.split()[-1] for line in lines] == ["first", "sec\ufffdond", "third"]
    assert lines[0] == "1970-01-01T00:00:01.000000Z gx10-1 gx10-gang - first"
    assert lines[1].split()[1:4] == ["gx10-2", "ray", "abc.7"]
    assert silent == ["gx10-3: unreachable: no route"]


@pytest.mark.parametrize(
    ("wanted", "shown"), [("", True), ("abc", True), ("abc.7", True), ("abc.8", False), ("x", False)]
)
def test_logs_are_narrowed_down_to_a_generation_or_a_life(wanted: str, shown: bool) -> None:
    assert gang_commands.of_generation(LIFE, wanted) is shown


NOW: dict[str, Any] = {"phase": "serving", "life": "abc.8", "waiting": [], "fallback": 0, "reason": "r"}


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (None, "supervisor does not answer"),
        (NOW, "The gang serves as abc.8"),
        ({**NOW, "phase": "gathering", "waiting": ["gx10-3 does not answer"]}, "It waits: gx10-3 does not answer."),
        ({**NOW, "phase": "failed", "spent": "4 attempts; the last: x"}, "4 attempts; the last: x. `gx10 start`"),
        ({**NOW, "fallback": 1, "fallback_name": "without MTP"}, "fallback 1, without MTP"),
        ({**NOW, "rolled_back": {"from": "g2", "to": "g1", "reason": "x"}}, "g2 did not start (x), so g1 was put back"),
    ],
)
def test_why_says_where_the_gang_stands(now: dict[str, Any] | None, told: str) -> None:
    says = " ".join(gang_why.state({**now, "since": time.time()} if now else None))
    assert told in says


def test_why_names_who_died_first_how_and_the_last_words(tmp_path: Path) -> None:
    evidence = {"memory": "MemAvailable: 5 kB", "kernel": ["Out of memory: Killed process 7"], "logs": {"ray": ["bye"]}}
    record = {
        "life": "abc.7", "time": 0, "phase": "serving", "reason": "engine on gx10-1 ended (status 0, success)",
        "first": {"time": 0, "host": "gx10-3", "part": "ray", "how": "signal 9"}, "silent": ["gx10-4"],
        "evidence": {"gx10-3": evidence},
    }  # fmt: skip
    path = tmp_path / "incidents.jsonl"
    path.write_text(json.dumps(record) + "\n")
    says = "\n".join(gang_why.told(gang_why.incidents(path)[-1]))
    assert "First to end was ray on gx10-3" in says
    assert "signal 9" in says
    assert "No evidence came from gx10-4." in says
    assert "kernel: Out of memory: Killed process 7" in says
    assert "ray: bye" in says


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["stop"], "/usr/local/lib/gx10/gang_control.py stop"),
        (["restart", "--drain-timeout", "5"], "/usr/local/lib/gx10/gang_control.py restart --drain-timeout 5"),
        (["start", "--full"], "/usr/local/lib/gx10/gang_control.py start --full"),
    ],
)
def test_verbs_ask_the_heads_supervisor(command: list[str], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner  # noqa: PLC0415

    from gx10.cli import main  # noqa: PLC0415

    asked: list[list[str]] = []

    def run(argv: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(argv)
        return subprocess.CompletedProcess(argv, 1)

    monkeypatch.setattr(gang_commands.subprocess, "run", run)
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 1, "a supervisor that fails is no success"
    assert asked[0][-2:] == ["10.77.0.11", words]

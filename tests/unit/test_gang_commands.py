"""`gx10 logs` merges by time and filters by life; the verbs ask the head and pass its verdict on."""

from __future__ import annotations

import json
import subprocess

import pytest
from click.testing import CliRunner

from gx10.access import remote
from gx10.access.remote import Answer
from gx10.cli import logs, main, supervisor
from gx10.described.description import Description, describe


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
    monkeypatch.setattr(
        remote, "run_all", lambda _description, _question, hosts, _seconds: {host: told[host] for host in hosts}
    )
    entries, silent = logs.journal(description, tuple(told), "", "-1h")
    lines = [logs.line_of(one) for one in entries]
    assert [line.split()[-1] for line in lines] == ["first", "sec\ufffdond", "third"]
    assert lines[0] == "1970-01-01T00:00:01.000000Z gx10-1 gx10-gang - first"
    assert lines[1].split()[1:4] == ["gx10-2", "ray", "abc.7"]
    assert silent == ["gx10-3: unreachable: no route"]


@pytest.mark.parametrize(
    ("wanted", "shown"), [("", True), ("abc", True), ("abc.7", True), ("abc.8", False), ("x", False)]
)
def test_logs_are_narrowed_down_to_a_generation_or_a_life(wanted: str, shown: bool) -> None:
    assert logs.of_generation(LIFE, wanted) is shown


@pytest.mark.parametrize(
    ("message", "polled"),
    [
        ('(APIServer pid=271) INFO:     127.0.0.2:52515 - "GET /metrics HTTP/1.1" 200 OK', True),
        ('INFO:     10.77.0.1:40000 - "GET /health HTTP/1.1" 200 OK', True),
        ('INFO:     127.0.0.2:52515 - "GET /metrics HTTP/1.1" 500 Internal Server Error', False),
        ('INFO:     127.0.0.1:33587 - "GET /v1/models HTTP/1.1" 200 OK', False),
        ('INFO:     127.0.0.1:33587 - "POST /v1/chat/completions HTTP/1.1" 200 OK', False),
        ("ValueError: GET /metrics", False),
    ],
)
def test_lines_about_those_who_look_every_second_are_left_out_unless_all_are_asked_for(
    description: Description, message: str, polled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "\n".join([entry(1, message, _SYSTEMD_UNIT="vllm-engine.service"), entry(2, "second")])
    monkeypatch.setattr(
        remote,
        "run_all",
        lambda _description, _question, hosts, _seconds: {host: Answer(host, value=lines) for host in hosts},
    )
    for words, shown in (([], not polled), (["--all"], True)):
        done = CliRunner().invoke(main, ["logs", "--host", "gx10-1", *words])
        assert (done.exit_code, message in done.stdout, "second" in done.stdout) == (0, shown, True)


def test_logs_of_a_host_that_is_not_described_are_refused_with_those_there_are() -> None:
    done = CliRunner().invoke(main, ["logs", "--host", "gx10-1", "--host", "gx10-9"])
    assert done.exit_code == 64
    assert done.stderr == ("There is no host 'gx10-9'; the cluster's hosts are gx10-1, gx10-2, gx10-3, gx10-4.\n")


COMMANDS = [
    (["stop"], "/usr/local/bin/gx10-host control stop"),
    (["restart", "--drain-timeout", "5"], "/usr/local/bin/gx10-host control restart --drain-timeout 5"),
    (["start", "--full"], "/usr/local/bin/gx10-host control start --full"),
    (["why"], "/usr/local/bin/gx10-host why"),
    (["why", "--full"], "/usr/local/bin/gx10-host why --full"),
]


@pytest.mark.parametrize(("command", "words"), COMMANDS)
@pytest.mark.parametrize(("status", "passed_on"), [(0, 0), (1, 1), (2, 2), (3, 3), (255, 1)])
def test_verbs_ask_the_heads_programs_and_pass_their_status_on(
    command: list[str], words: str, status: int, passed_on: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def run(argv: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(argv)
        return subprocess.CompletedProcess(argv, status, "", "")

    monkeypatch.setattr(supervisor.subprocess, "run", run)
    done = CliRunner().invoke(main, command)
    assert done.exit_code == passed_on
    assert asked[0][-2:] == ["10.77.0.11", words]
    assert ("The head gx10-1 cannot be reached" in done.stderr) is (status == 255)

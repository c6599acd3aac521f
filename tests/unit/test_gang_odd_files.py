"""What people ask the head's supervisor for, and are told of it, where files and logs hold what they should not."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from gx10_host.gang import control, evidence, why
from gx10_host.gang import store as gang_store

from .gang_world import G1

PICTURE: dict[str, Any] = {
    "phase": "serving", "life": f"{G1}.1", "waiting": [], "since": 0, "failures": 0, "attempts": 4, "handled": "",
    "fallback": 0, "started_in": None,
}  # fmt: skip
FOUND = {"kernel": [], "memory": "MemAvailable: 5 kB", "telling": {"ray": [[1, "why"]]}, "logs": {"ray": [[1, "bye"]]}}
RECORD: dict[str, Any] = {
    "life": f"{G1}.1", "time": 1, "reason": "ray on gx10-1 ended", "host": "gx10-1", "phase": "serving",
    "evidence": {"gx10-1": FOUND},
}  # fmt: skip


def entry(message: object, **more: object) -> str:
    return json.dumps({"__REALTIME_TIMESTAMP": "1000000", "MESSAGE": message, **more}, ensure_ascii=False)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ([104, 105], "hi"),
        ([104, 255], "h\ufffd"),
        (["first", "second"], "first second"),
        ([[104, 105], "second"], "hi second"),
        ([104, 999], " "),
        ("before\u2028after\x0bend", "before\u2028afterend"),
        (None, ""),
        ({"odd": 1}, ""),
        (7, ""),
    ],
    ids=str,
)
def test_one_odd_entry_of_the_journal_hides_no_other(
    message: object, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [entry("one"), entry(message), "[]", "7", "{", '{"__REALTIME_TIMESTAMP": []}', entry("two")]
    program = tmp_path / "journalctl"
    (tmp_path / "said").write_text("\n".join(lines))
    program.write_text(f"#!/bin/sh\ncat {tmp_path / 'said'}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert [said for _, said, _ in evidence.journal(since=0, lines=9)] == ["one", text, "two"]


def asked(words: list[str], tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """`gx10-host control` with a wish file of its own; systemctl says that the supervisor runs."""
    program = (
        "import gx10, pathlib, sys; from gx10_host.gang import control, why; "
        f"control.ask.__defaults__ = (pathlib.Path({str(tmp_path / 'wish.json')!r}),); "
        f"control.picture.__defaults__ = (pathlib.Path({str(tmp_path / 'gang.json')!r}),); control.main(sys.argv[1:])"
    )
    (tmp_path / "systemctl").write_text("#!/bin/sh\n")
    (tmp_path / "systemctl").chmod(0o755)
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("seconds", ["nan", "inf", "-inf", "1e11", "-1"])
@pytest.mark.parametrize("option", ["--drain-timeout", "--seconds"])
def test_a_time_without_bounds_is_refused_and_leaves_no_wish(option: str, seconds: str, tmp_path: Path) -> None:
    done = asked(["stop", f"{option}={seconds}"], tmp_path)
    assert done.returncode == 2
    assert "is no number of seconds from 0 to" in done.stderr
    assert not (tmp_path / "wish.json").exists()


@pytest.mark.parametrize(
    "written",
    [
        b"{", b"[]", b"{}", b'{"picture": 3}', b'{"picture": {}}', b'{"picture": {"phase": "serving"}}',
        json.dumps({"picture": {**PICTURE, "phase": 3}}).encode(),
        json.dumps({"picture": {**PICTURE, "life": "no life"}}).encode(),
        json.dumps({"picture": {**PICTURE, "since": "long"}}).encode(),
        json.dumps({"picture": {**PICTURE, "waiting": 3}}).encode(),
        b"[" * 5000, b"\xff\xfe", b'{"picture": ' + b'"' + b"x" * gang_store.LONGEST + b'"}',
    ],
    ids=lambda written: repr(written[:40]),
)  # fmt: skip
def test_a_damaged_picture_is_told_as_a_supervisor_that_does_not_answer(
    written: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gang.json"
    path.write_bytes(written)
    monkeypatch.setattr(why, "picture", lambda: control.picture(path))
    monkeypatch.setattr(why, "incidents", list)
    with pytest.raises(SystemExit) as left:
        why.main([])
    assert left.value.code == 1
    assert "does not answer" in capsys.readouterr().out


def test_who_waits_is_told_of_no_damaged_picture(tmp_path: Path) -> None:
    (tmp_path / "gang.json").write_text('{"picture": {"phase": 3}}')
    done = asked(["start", "--seconds", "0"], tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (3, False)
    assert "gx10-gang.service does not answer yet" in done.stderr


@pytest.mark.parametrize(
    "line",
    [
        "{", "7", "[]", "{}", json.dumps({**RECORD, "evidence": None}), json.dumps({**RECORD, "time": "x"}),
        json.dumps({**RECORD, "time": 1e300}),
        json.dumps({**RECORD, "evidence": {"gx10-1": {}}}),
        json.dumps({**RECORD, "evidence": {"gx10-1": {**FOUND, "logs": {"ray": [7]}}}}),
        json.dumps({**RECORD, "evidence": {"gx10-1": {**FOUND, "telling": {"ray": [[None, 3]]}}}}),
        json.dumps({**RECORD, "first": {"part": "ray"}}), "[" * 5000,
    ],
    ids=lambda line: line[:60],
)  # fmt: skip
def test_a_damaged_record_of_an_incident_hides_no_other(line: str, tmp_path: Path) -> None:
    path = tmp_path / "incidents.jsonl"
    path.write_text("\n".join([json.dumps(RECORD), line, json.dumps({**RECORD, "reason": "the last"}), ""]))
    assert [record["reason"] for record in why.incidents(path)] == [RECORD["reason"], "the last"]


@pytest.mark.parametrize("words", [[], ["--full"]])
def test_no_control_character_of_any_log_reaches_the_terminal(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\u202e\x9b31m"
    found = {**FOUND, "telling": {"ray": [[1, evil]]}, "logs": {"ray": [[1, evil]]}, "memory": evil}
    record = {**RECORD, "reason": evil, "evidence": {"gx10-1": found}}
    (tmp_path / "incidents.jsonl").write_text(json.dumps(record))
    (tmp_path / "gang.json").write_text(json.dumps({"picture": {**PICTURE, "since": time.time(), "waiting": [evil]}}))
    monkeypatch.setattr(why, "picture", lambda: control.picture(tmp_path / "gang.json"))
    records = why.incidents(tmp_path / "incidents.jsonl")
    monkeypatch.setattr(why, "incidents", lambda: records)
    with pytest.raises(SystemExit):
        why.main(words)
    said = capsys.readouterr().out
    assert "owned" in said
    assert all(letter.isprintable() for letter in said.replace("\n", ""))

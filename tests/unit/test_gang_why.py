"""`gx10 why` fits on one screen after whatever happened, names who died first, and shows no line of every life.

The logs were recorded in the lab, one life each: a process of Ray on a worker killed, the engine's container killed, a
worker's fabric cable pulled. Of the questions for /metrics every tenth was kept.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from gx10_host.gang import evidence as gang_evidence
from gx10_host.gang import log_lines
from gx10_host.gang import why as gang_why

RECORDED = Path(__file__).with_name("recorded_logs")
HOSTS = {f"10.77.1.1{number}": f"gx10-{number}" for number in range(1, 5)}
BANNERS = (
    "GET /metrics", "Ray runtime started", "ray stop", "ray status", "block forever", "Next steps", "--block",
    "Local node IP", "To connect to this Ray cluster", "Process exit logs", "Usage stats", "subprocesses are monitored",
    "non-default args", "throughput", "Application startup complete", "Route:", "NUMA", "repeated", 'File "',
    "Started ray", "Stopping ray", "Failed with result",
)  # fmt: skip
NOW: dict[str, Any] = {
    "phase": "serving", "life": "abc.8", "waiting": [], "fallback": 0, "reason": "r", "since": time.time(),
    "failures": 0, "attempts": 4, "foreign": [],
}  # fmt: skip


def recorded(life: str) -> dict[tuple[str, str], list[tuple[float, str, str]]]:
    """Entries of a recorded life by host and part."""
    parts: dict[tuple[str, str], list[tuple[float, str, str]]] = {}
    for line in (RECORDED / f"{life}.jsonl").read_text().splitlines():
        where, moment, who, text = json.loads(line)
        host, part = where.split()
        parts.setdefault((host, part), []).append((moment, text, who))
    return parts


def collected(
    parts: dict[tuple[str, str], list[tuple[float, str, str]]], monkeypatch: pytest.MonkeyPatch, silent: str = ""
) -> dict[str, Any]:
    """What each host says of a life whose journal is given, as its supervisor collects it."""
    evidence = {}
    ended = max(moment for entries in parts.values() for moment, _, _ in entries)
    monkeypatch.setattr(gang_evidence.time, "time", lambda: ended)
    for host in sorted({host for host, _ in parts} - {silent}):

        def journal(*words: str, host: str = host, **_: object) -> list[tuple[float, str, str]]:
            part = {"--dmesg": "kernel", "ray": "ray", "engine": "engine"}[words[-1]]
            return parts.get((host, part), [])

        monkeypatch.setattr(gang_evidence, "journal", journal)
        engine = "engine" if host == "gx10-1" else None
        evidence[host] = gang_evidence.collect({"ray_unit": "ray", "engine_unit": engine}, 1)
    return evidence


def incident(evidence: dict[str, Any], **told: object) -> dict[str, Any]:
    """A record as the head's supervisor writes it down."""
    record = {
        "life": "abc.7", "time": 0, "phase": "serving", "reason": "engine on gx10-1 ended (status 0, success)",
        "first": {"time": 0, "host": "gx10-1", "part": "engine", "how": "status 0, success"}, "host": "gx10-1",
        "silent": [], "evidence": evidence,
    }  # fmt: skip
    return {**record, **told}


def shown(now: dict[str, Any] | None, record: dict[str, Any] | None) -> str:
    """The screen, which is never more than one."""
    lines = gang_why.screen(now, record, HOSTS)
    assert len(lines) <= 24, "\n".join(lines)
    assert max(len(line) for line in lines) <= 120, "\n".join(lines)
    return "\n".join(lines)


@pytest.mark.parametrize("life", ["rank-killed", "engine-killed", "cable-cut"])
def test_no_line_that_stands_there_in_every_life_is_shown(life: str, monkeypatch: pytest.MonkeyPatch) -> None:
    says = shown(NOW, incident(collected(recorded(life), monkeypatch)))
    assert [banner for banner in BANNERS if banner in says] == []
    whole = "\n".join(gang_why.everything(incident(collected(recorded(life), monkeypatch))))
    assert "Ray runtime started" in whole or "block forever" in whole, "all of it is kept"


def test_a_rank_that_was_killed_is_named_though_the_engine_was_the_first_unit_to_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    says = shown(NOW, incident(collected(recorded("rank-killed"), monkeypatch)))
    assert "First to end was engine on gx10-1" in says
    assert "gx10-1 engine: (raylet, ip=gx10-3) The raylet exited immediately because one Ray agent failed" in says
    assert "RayWorkerProc rank=[1] died unexpectedly, shutting down executor." in says
    assert "RuntimeError: Executor failed." in says
    assert "and address: gx10-3" in says
    assert "EngineDeadError" not in says, "it points at another line"


def test_logs_that_say_nothing_are_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    record = incident(
        collected(recorded("cable-cut"), monkeypatch, silent="gx10-3"), first=None, host="gx10-3", silent=["gx10-3"],
        reason="gx10-3 does not answer for 18 s, and no token comes",
    )  # fmt: skip
    says = shown(NOW, record)
    assert "gx10-3 does not answer for 18 s, and no token comes." in says
    assert "No evidence came from gx10-3." in says
    assert "No line of any log of that life says why." in says


OUT_OF_MEMORY = [
    '(EngineCore pid=292) ERROR 11-27 05:11:23 [core.py:1167] Traceback (most recent call last):',
    '(EngineCore pid=292) ERROR 11-27 05:11:23 [core.py:1167]   File "/x/vllm/v1/worker/gpu_worker.py", line 1, in f',
    "(EngineCore pid=292) ERROR 11-27 05:11:23 [core.py:1167]     self.model_runner.profile_run()",
    "(EngineCore pid=292) ERROR 11-27 05:11:23 [core.py:1167] torch.OutOfMemoryError: CUDA out of memory. Tried to "
    "allocate 2.00 GiB. GPU 0 has a total capacity of 111.0 GiB of which 1.20 GiB is free.",
]  # fmt: skip


def test_memory_that_ran_out_is_shown_first_of_all_with_the_kernels_line(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = recorded("rank-killed")
    ended = parts["gx10-1", "engine"][-1][0]
    parts["gx10-3", "kernel"] = [(ended - 3, "Out of memory: Killed process 4711 (ray::RayWorker)", "kernel")]
    parts["gx10-1", "engine"] += [(ended + 1, text, "docker") for text in OUT_OF_MEMORY]
    evidence = collected(parts, monkeypatch)
    says = shown(NOW, incident(evidence, conclusion="out of memory: the next start goes on with fallback `less`"))
    assert "gx10-3 kernel: Out of memory: Killed process 4711 (ray::RayWorker)" in says
    assert "gx10-1 engine: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB." in says
    assert "Conclusion: out of memory: the next start goes on with fallback `less`." in says
    assert [bool(found["out_of_memory"]) for found in evidence.values()] == [True, False, True, False]


def starting(*lines: tuple[float, str]) -> dict[tuple[str, str], list[tuple[float, str, str]]]:
    """Logs of a start in which the gate before the engine says some lines."""
    parts = {key: entries[:12] for key, entries in recorded("engine-killed").items() if key[1] == "ray"}
    began = parts["gx10-1", "ray"][0][0]
    parts["gx10-1", "engine"] = [(began + after, text, "gang_gate.py") for after, text in lines]
    return parts


WAITS = "gang gate: waiting for 0 of 4 GPUs in use: Ray has 0 of 3 GPUs in use"
GAVE_UP = "gang gate: gave up after 210 s: Ray has 0 of 3 GPUs in use, expected 0 of 4"


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ([(1, WAITS.replace("has 0 of 3", "has 0 of 1")), (20, WAITS)], WAITS),
        ([(1, WAITS), (211, f"{GAVE_UP}. Look at the Ray units of all hosts")], GAVE_UP),
    ],
    ids=["cut short", "gave up"],
)
def test_the_line_of_the_gate_that_a_start_hung_at_is_shown(
    lines: list[tuple[float, str]], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = incident(collected(starting(*lines), monkeypatch), phase="starting", reason="no completion within 600 s")
    says = shown(NOW, record)
    assert f"gx10-1 engine: {line}" in says
    assert says.count("gang gate:") == 1


def test_what_a_life_outlived_did_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = starting((0, "RuntimeError: at the start"), (10_000, "RuntimeError: at the end"))
    says = shown(NOW, incident(collected(parts, monkeypatch)))
    assert "at the end" in says
    assert "at the start" not in says


def test_the_worst_fault_of_four_hosts_with_everything_else_at_once_fits_and_gives_every_part_its_turn() -> None:
    long = "RuntimeError: " + "the reason goes on and on " * 20
    evidence = {}
    for number in range(1, 5):
        lines = [[moment, f"{long} {chr(96 + moment)}{number}"] for moment in range(1, 13)]
        parts = {"ray": lines, "engine": lines} if number == 1 else {"ray": lines}
        evidence[f"gx10-{number}"] = {
            "kernel": [[5, f"NVRM: {long}"]] * 12, "telling": parts, "logs": parts,
            "memory": "MemAvailable: 17460672 kB", "clock_offset": 0.2,
        }  # fmt: skip
    sender = {
        "head": "gx10-9", "address": "10.77.1.19", "cluster": "lab", "orders": 12, "hosts": list(HOSTS.values()),
        "since": 0, "last": time.time(),
    }  # fmt: skip
    now = {
        **NOW, "phase": "gathering", "failures": 2, "failed_for": long, "fallback": 1, "fallback_name": "less",
        "waiting": [f"gx10-{number}: {long}" for number in range(1, 5)], "foreign": [sender] * 3,
        "rolled_back": {"from": "g2", "to": "g1", "reason": long},
    }  # fmt: skip
    record = incident(
        evidence, reason=long, conclusion=long, first={**incident({})["first"], "host": "gx10-3", "part": "ray"}
    )
    says = shown(now, record)
    assert "lines more: --full" in says
    lines = [line.split()[1:3] for line in says.splitlines() if line.startswith("  00:00:")]
    assert sum(line == ["gx10-3", "ray:"] for line in lines) >= 2
    assert ["gx10-1", "kernel:"] in lines


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (None, "supervisor does not answer"),
        ({}, "The gang serves as abc.8"),
        ({"phase": "gathering", "waiting": ["gx10-3 does not answer"]}, "It waits: gx10-3 does not answer."),
        ({"phase": "failed", "spent": "4 attempts; the last: x"}, "4 attempts; the last: x. `gx10 start`"),
        ({"fallback": 1, "fallback_name": "without MTP"}, "fallback 1, without MTP"),
        ({"rolled_back": {"from": "g2", "to": "g1", "reason": "x"}}, "g2 did not start (x), so g1 was put back"),
        ({"phase": "starting", "failures": 1, "failed_for": "ray ended"}, "It is attempt 2 of 4; the last: ray ended."),
        (
            {"phase": "deposed", "reason": "every other host obeys gx10-2 (10.77.1.12) of cluster lab"},
            "This head stands down, for 0 s: every other host obeys gx10-2 (10.77.1.12) of cluster lab.",
        ),
        (
            {
                "foreign": [
                    {"head": "gx10-9", "address": "10.77.1.19", "cluster": "lab", "orders": 12, "hosts": ["gx10-2"],
                     "since": 0, "last": 0}
                ]
            },
            "A foreign head, gx10-9 (10.77.1.19, cluster lab), gave 12 orders to gx10-2 since 1970-01-01 00:00:00 UTC",
        ),
        (
            {
                "malformed": [
                    {"address": "10.77.1.19", "messages": 3, "hosts": ["gx10-2"], "since": 0, "last": 0,
                     "reason": "no JSON"}
                ]
            },
            "10.77.1.19 sent 3 messages to gx10-2 that are none since 1970-01-01 00:00:00 UTC",
        ),
        (
            {
                "faults": [
                    {"host": "gx10-2", "step": "judging", "times": 4, "last_seconds": 7, "error": "KeyError at x.py:1"}
                ]
            },
            "The supervisor of gx10-2 failed in judging 4 times, the last 7 s ago: KeyError at x.py:1.",
        ),
    ],
)  # fmt: skip
def test_why_says_where_the_gang_stands(now: dict[str, Any] | None, told: str) -> None:
    says = " ".join(gang_why.state({**NOW, "since": time.time(), **now} if now is not None else None))
    assert told in says


@pytest.mark.parametrize(("silent", "said"), [(1, "and it goes on"), (20, "the last 20 s ago")])
def test_a_foreign_head_that_has_fallen_silent_does_not_go_on(silent: int, said: str) -> None:
    sender = {"head": "b", "address": "a", "cluster": "c", "orders": 1, "hosts": ["d"], "since": 0}
    assert said in gang_why.foreign({**sender, "last": time.time() - silent})


@pytest.mark.parametrize(
    ("now", "status"),
    [(NOW, 0), ({**NOW, "phase": "failed", "spent": "x"}, 2), (None, 1)],
    ids=["serves", "failed", "-"],
)
def test_the_verdict_is_an_exit_status(
    now: dict[str, Any] | None, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gang_why, "picture", lambda: now)
    monkeypatch.setattr(gang_why, "incidents", list)
    for words in ([], ["--full"]):
        monkeypatch.setattr(sys, "argv", ["gx10-host", *words])
        with pytest.raises(SystemExit) as left:
            gang_why.main(sys.argv[1:])
        assert left.value.code == status
        assert capsys.readouterr().out


def test_a_record_of_an_older_supervisor_is_still_read(tmp_path: Path) -> None:
    evidence = {"memory": "MemAvailable: 5 kB", "kernel": ["Out of memory: Killed process 7"], "logs": {"ray": ["bye"]}}
    path = tmp_path / "incidents.jsonl"
    path.write_text(json.dumps(incident({"gx10-3": evidence}, silent=["gx10-4"])) + "\n")
    (record,) = gang_why.incidents(path)
    says = shown(NOW, record)
    assert "No evidence came from gx10-4." in says
    assert "gx10-3 kernel: Out of memory: Killed process 7" in says
    assert "  00:00:00 ray: bye" in "\n".join(gang_why.everything(record))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("vllm serve: error: unrecognized arguments: --nonsense", 2),
        ("(Worker_TP1 pid=9) WARNING 11-27 05:10:30 [cpu_worker.py:108] libiomp is not found", 1),
        ("(APIServer pid=271) INFO:     Shutting down", 0),
        ("\x1b[36m(RayWorkerProc pid=106, ip=10.77.1.14)\x1b[0m (Worker pid=106) INFO 11-27 05:10:30 [p.py:1] x", 0),
        ("\x1b[36m(RayWorkerProc pid=106)\x1b[0m (Worker pid=106) ERROR 11-27 05:10:30 [p.py:1] NCCL failed", 2),
        ("2026-11-27 05:11:46,459\tINFO scripts.py:1159 -- --block", 0),
        ("2026-11-27 05:11:46,459\tERR scripts.py:1159 -- Some Ray subprocesses exited unexpectedly:", 2),
        ("[2026-11-27 05:11:38,639 W 7 7] network_util.cc:296: Failed to determine local IP", 0),
        ("[2026-11-27 05:11:23,206 E 24 49] (raylet) agent_manager.cc:87: The raylet exited", 2),
        ("KeyError: 'super_v3'", 2),
        ("completion: m at http://127.0.0.1:8000 did not answer: timed out", 2),
        ("    raise RuntimeError('x')", 0),
        ("", 0),
    ],
)  # fmt: skip
def test_a_line_is_weighed_by_level_and_wording(line: str, says: int) -> None:
    assert log_lines.weight(*log_lines.bare(line)) == says

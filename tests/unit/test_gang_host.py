"""What the supervisor does to a host and asks of it: ranks, the door, drop-ins, orders, evidence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from .gang_world import CONFIG, World
from .host_side import PROGRAMS, PYTHON, SECONDS, command_on_path, run, wait_until

sys.path.insert(0, str(PROGRAMS))
import gang
import gang_agent
import gang_evidence
import gang_kept
import gang_liveness
import ranks

LIFE = f"test{os.getpid()}.7"


@pytest.fixture
def rank() -> Iterator[subprocess.Popen[bytes]]:
    """A process that belongs to a life."""
    process = subprocess.Popen(["sleep", "60"], env={**os.environ, "GX10_RANK_OF": LIFE})
    assert wait_until(lambda: LIFE in ranks.found())
    yield process
    process.kill()
    process.wait()


def test_a_rank_is_found_by_its_environment_alone(rank: subprocess.Popen[bytes]) -> None:
    assert ranks.found()[LIFE] == [rank.pid]


def test_a_stopped_rank_is_ended_but_none_of_the_life_that_is_on(
    rank: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    rank.send_signal(signal.SIGSTOP)
    others = {life: pids for life, pids in ranks.found().items() if life == LIFE}
    monkeypatch.setattr(ranks, "found", lambda: others)
    ranks.kill(but=LIFE)
    assert rank.poll() is None
    ranks.kill()
    assert rank.wait(SECONDS) == -signal.SIGKILL


DOCKER = r"""
import os, pathlib, sys
home = pathlib.Path(os.environ["FAKE"])
with (home / "asked").open("a") as log:
    log.write(" ".join(sys.argv[1:]) + "\n")
if (home / "dead").exists():
    (home / "dead").unlink()
    sys.exit("Cannot connect to the Docker daemon")
if sys.argv[1] == "ps":
    print("0123abcd")
elif sys.argv[1] == "rm":
    print("Error response from daemon: No such container: gx10-ray", file=sys.stderr)
    sys.exit(1)
"""


def test_containers_are_removed_by_label_and_by_name_also_when_docker_answers_late(tmp_path: Path) -> None:
    env = {**command_on_path(tmp_path / "bin", "docker", DOCKER), "FAKE": str(tmp_path)}
    (tmp_path / "dead").touch()
    done = run("ranks", "end", "--container", "gx10-ray", env=env)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "asked").read_text().splitlines() == [
        "ps --all --quiet --filter label=gx10.container=gx10-ray",
        "ps --all --quiet --filter label=gx10.container=gx10-ray",
        "rm --force gx10-ray 0123abcd",
    ]


DOORS = r"""
import http.client, http.server, subprocess, sys, threading
sys.path.insert(0, sys.argv[1])
from gang_door import OWN_ADDRESS, Door
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        began.set(); goes_on.wait(20)
        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *_): pass

began, goes_on = threading.Event(), threading.Event()
server = http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
connect = lambda **kept: http.client.HTTPConnection("127.0.0.1", 8000, timeout=20, **kept)

def post(connection):
    try:
        connection.request("POST", "/", b"x" * 3000)
        return connection.getresponse().read().decode()
    except OSError as error:
        return type(error).__name__

goes_on.set()
kept, running, door, told = connect(), connect(), Door(8000), []
told.append(post(kept))
goes_on.clear(); began.clear()
answer = []
thread = threading.Thread(target=lambda: answer.append(post(running))); thread.start(); began.wait(20)
problems = [door.move(1)]
goes_on.set(); thread.join()                       # a running request ends
told += answer + [post(kept), post(connect())]     # kept alive: goes on; new: refused
problems.append(door.move(2))
told += [post(kept), post(connect(source_address=(OWN_ADDRESS, 0)))]
problems.append(door.move(0))
told.append(post(connect()))
print(problems, told)
"""


def test_the_door_refuses_who_comes_and_cuts_nobody_off() -> None:
    done = subprocess.run(
        ["unshare", "--net", *PYTHON, "-c", DOORS, str(PROGRAMS)],
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    problems, told = "['', '', '']", ["ok", "ok", "ok", "ConnectionRefusedError", "ConnectionResetError", "ok", "ok"]
    assert done.stdout.strip() == f"{problems} {told}", done.stderr


def test_a_start_names_the_life_in_environment_and_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(gang_agent, "DROP_INS", tmp_path)
    monkeypatch.setattr(gang_agent, "systemctl", lambda *words, **_: asked.append(" ".join(words)))
    rung = tmp_path / "fallback-1.conf"
    rung.write_text("[Service]\nExecStart=\n")
    host = gang_agent.Host({**CONFIG, "engine_unit": "engine", "fallbacks": [{"name": "x", "file": str(rung)}]})
    host.start("engine", "abc.12", "gx10-1/engine", 1)
    text = (tmp_path / "engine.d/50-life.conf").read_text()
    assert "Environment=GX10_LIFE=12\n" in text
    assert "LogExtraFields=GX10_GENERATION=abc\n" in text
    assert "LogExtraFields=GX10_RANK=gx10-1/engine\n" in text
    assert (tmp_path / "engine.d/60-fallback.conf").read_text() == rung.read_text()
    assert asked == ["daemon-reload", "reset-failed -- engine", "start --no-block -- engine"]
    host.start("engine", "abc.13", "gx10-1/engine", 0)
    assert not (tmp_path / "engine.d/60-fallback.conf").exists()


def test_orders_and_reports_travel_over_http_and_foreign_ones_are_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    server = gang.Server(("127.0.0.1", 0), gang.handler(world.agents["gx10-2"]))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        link = gang.Link("127.0.0.1", server.server_address[1], "four")
        link.order = {"key": "1 stop", "want": "stop"}
        link.ask()
        assert link.report["described"] == "g1"
        assert world.agents["gx10-2"].order["key"] == "1 stop"
        other = gang.Link("127.0.0.1", server.server_address[1], "five")
        other.order = {"key": "2 stop", "want": "stop"}
        other.ask()
        assert other.report is None
        assert world.agents["gx10-2"].order["key"] == "1 stop", "another cluster's head gave an order"
    finally:
        server.shutdown()
        server.server_close()


class Engine(BaseHTTPRequestHandler):
    """An API whose counters are a text; remembers who asked."""

    text, asked = "", list[str]()

    def do_GET(self) -> None:
        """Counters."""
        self.asked.append(self.client_address[0])
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.text.encode())

    def do_POST(self) -> None:
        """A completion."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"usage": {"completion_tokens": 1}}).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


COUNTERS = """# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 2.0
vllm:num_requests_waiting{engine="0",model_name="m"} 3.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 9.0
vllm:kv_cache_usage_perc{engine="0"} 0.25
vllm:iteration_tokens_total_count{engine="0"} 17.0
vllm:iteration_tokens_total_bucket{engine="0",le="1"} 1.0
process_cpu_seconds_total 1.5
"""


def test_the_engine_is_asked_past_the_door_and_its_own_counters_are_read() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Engine) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        api = gang_liveness.Api(server.server_address[1], "m")
        Engine.text = COUNTERS
        liveness = gang_liveness.Liveness(api, {"canary_seconds": 60, "deadline_seconds": 60, "misses": 3})
        liveness.look()
        assert liveness.in_flight == 5
        assert len(liveness.seen) == 4
        assert set(Engine.asked) == {"127.0.0.2"}
        moved = liveness.moved_at
        Engine.text = COUNTERS.replace("1.5", "2.5")
        liveness.look()
        assert liveness.moved_at == moved, "time spent is no progress of the engine"
        Engine.text = COUNTERS.replace("0.25", "0.26")
        liveness.look()
        assert liveness.moved_at > moved
        assert api.completion(5) == ""
        server.shutdown()
    assert "refused" in api.completion(5)
    assert api.metrics() is None


JOURNALCTL = r"""
import sys
if "--dmesg" in sys.argv:
    print("2026-01-01T00:00:00 kernel: Out of memory: Killed process 4711 (ray::RayWorker)")
    print("2026-01-01T00:00:00 kernel: usb 1-1: new device")
elif "ray" in sys.argv:
    print("loading\n\nlast words")
"""


def test_evidence_holds_kernel_lines_last_words_and_whether_memory_ran_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", command_on_path(tmp_path, "journalctl", JOURNALCTL)["PATH"])
    told = gang_evidence.collect({**CONFIG, "engine_unit": None}, time.time())
    assert len(told["kernel"]) == len(told["out_of_memory"]) == 1
    assert told["logs"] == {"ray": ["loading", "last words"]}
    assert told["memory"].startswith("MemAvailable")


@pytest.mark.parametrize(
    ("line", "memory"),
    [
        ("NVRM: nvCheckOkFailedNoLog: NV_ERR_NO_MEMORY", True),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate", True),
        ("kernel: oom-kill:constraint=CONSTRAINT_NONE", True),
        ("RuntimeError: NCCL error: unhandled system error", False),
        ("free memory 3 GiB, memory profiling takes 2 s", False),
    ],
)
def test_signatures_of_memory_that_ran_out(line: str, memory: bool) -> None:
    assert bool(gang_evidence.OUT_OF_MEMORY.search(line)) is memory


def files_of(path: Path) -> gang_kept.Files:
    """Two files of a gang below a directory."""
    return gang_kept.Files({"files": ["/etc/gx10/generation.env", "/etc/unit"]}, path, path / "kept")


def describe(path: Path, generation: str) -> None:
    """Deploy."""
    (path / "etc/gx10").mkdir(parents=True, exist_ok=True)
    (path / "etc/unit").write_text(f"unit of {generation}")
    (path / "etc/gx10/generation.env").write_text(f"GX10_GENERATION={generation}\n")


def test_a_kept_generation_is_put_back_whole_and_another_is_never_kept_under_its_name(tmp_path: Path) -> None:
    files = files_of(tmp_path)
    describe(tmp_path, "g1")
    assert files.keep("g1")
    describe(tmp_path, "g2")
    assert not files.keep("g1"), "what stands there is not g1"
    assert (files.described(), files.kept()) == ("g2", "g1")
    assert not files.restore("g3")
    assert files.restore("g1")
    assert files.described() == "g1"
    assert (tmp_path / "etc/unit").read_text() == "unit of g1"


def test_control_waits_for_what_it_asked_for(tmp_path: Path) -> None:
    env = command_on_path(tmp_path / "bin", "systemctl", "pass")
    settings = {"gang_control.WISH": Path(tmp_path / "wish.json"), "gang_control.PICTURE": Path(tmp_path / "gang.json")}
    picture: dict[str, Any] = {"phase": "starting", "life": "g.1", "waiting": [], "handled": "", "since": 0}

    def supervise() -> None:
        assert wait_until((tmp_path / "wish.json").exists)
        told = {**picture, "handled": json.loads((tmp_path / "wish.json").read_text())["id"]}
        for phase in ("draining", "starting", "serving"):
            (tmp_path / "new").write_text(json.dumps({"picture": {**told, "phase": phase}}))
            (tmp_path / "new").rename(tmp_path / "gang.json")
            time.sleep(0.6)

    threading.Thread(target=supervise, daemon=True).start()
    program = "import gang_control, pathlib, sys; "
    program += "".join(f"{name} = pathlib.Path({str(path)!r}); " for name, path in settings.items())
    program += "gang_control.ask.__defaults__ = (gang_control.WISH,); "
    program += "gang_control.picture.__defaults__ = (gang_control.PICTURE,); gang_control.main()"
    done = subprocess.run(
        [*PYTHON, "-c", f"import sys; sys.path.insert(0, {str(PROGRAMS)!r}); {program}", "restart", "--seconds", "30"],
        capture_output=True, text=True, timeout=SECONDS, check=False, env={**os.environ, **env},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "gang: serving g.1 after" in done.stdout


@pytest.mark.parametrize(
    ("now", "came", "why_not"),
    [
        ({"phase": "serving", "life": "g2.3"}, True, ""),
        ({"phase": "serving", "life": "g1.3"}, False, ""),
        (
            {"phase": "serving", "life": "g1.3", "rolled_back": {"from": "g2", "to": "g1", "reason": "no completion"}},
            False,
            "generation g2 did not start, and g1 was put back: no completion",
        ),
        ({"phase": "failed", "life": "g2.3", "spent": "4 attempts"}, False, "the budget is spent: 4 attempts"),
    ],
)
def test_only_the_described_generation_is_success(now: dict[str, Any], came: bool, why_not: str) -> None:
    import gang_control  # noqa: PLC0415

    assert gang_control.done("restart", now, "g2") == (came, why_not)

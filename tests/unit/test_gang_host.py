"""What the supervisor does to a host and asks of it: ranks, the door, drop-ins, orders, evidence."""

from __future__ import annotations

import http.client
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
from types import SimpleNamespace
from typing import Any

import pytest
from gx10_host.engine.api import Api, NoAnswer
from gx10_host.gang import agent as gang_agent
from gx10_host.gang import control as gang_control
from gx10_host.gang import evidence as gang_evidence
from gx10_host.gang import kept as gang_kept
from gx10_host.gang import liveness as gang_liveness
from gx10_host.gang import orders as gang_orders
from gx10_host.gang import ranks
from gx10_host.gang import store as gang_store
from gx10_host.gang import supervisor as gang
from gx10_host.wire import MOST_SENDERS, Generation, Life, Order, Sworn

from .gang_world import CONFIG, G1, G2, G3, World
from .host_side import LIBRARY, PYTHON, SECONDS, command_on_path, run, wait_until

LIFE = f"{os.getpid():016x}.7"


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
from gx10_host.gang.door import OWN_ADDRESS, Door
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
        ["unshare", "--net", *PYTHON, "-c", DOORS, str(LIBRARY)],
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
    fallbacks = [{"name": "x", "file": str(rung), "needed_to_start_gib": 105.5}]
    host = gang_agent.Host({**CONFIG, "engine_unit": "engine", "fallbacks": fallbacks})
    host.start("engine", Life.parse(f"{G1}.12"), "gx10-1/engine", 1)
    text = (tmp_path / "engine.d/50-life.conf").read_text()
    assert "Environment=GX10_LIFE=12\n" in text
    assert "Environment=GX10_NEEDED_TO_START_GIB=105.5\n" in text
    assert f"LogExtraFields=GX10_GENERATION={G1}\n" in text
    assert "LogExtraFields=GX10_RANK=gx10-1/engine\n" in text
    assert (tmp_path / "engine.d/60-fallback.conf").read_text() == rung.read_text()
    assert asked == ["daemon-reload", "reset-failed -- engine", "start --no-block -- engine"]
    host.start("engine", Life.parse(f"{G1}.13"), "gx10-1/engine", 0)
    assert not (tmp_path / "engine.d/60-fallback.conf").exists()
    assert "Environment=GX10_NEEDED_TO_START_GIB=108.5\n" in (tmp_path / "engine.d/50-life.conf").read_text()


def test_a_rank_waits_for_what_its_rung_needs_and_for_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {**CONFIG, "host": "gx10-1", "hosts": {"gx10-1": "127.0.0.1"}, "image": "vllm-node:1"}
    monkeypatch.setattr(gang_agent, "docker_answers", lambda _: 200)
    host = gang_agent.Host(config)
    for available, rungs in ((108.4, {2}), (108.5, {0, 1, 2}), (105.4, set())):
        monkeypatch.setattr(gang_agent.memory, "available_gib", lambda available=available: available)
        assert {rung for rung in range(3) if not host.needs(rung)} == rungs
    assert host.needs(9) == ["105.4 GiB of memory are available, a rank needs 105.5"], "of a rung not known here yet"


@pytest.fixture
def obeying(tmp_path: Path) -> Iterator[tuple[Any, int]]:
    """A host's supervisor that takes orders at a port of this machine, where its head is as well."""
    world = World(tmp_path, hosts={**CONFIG["hosts"], "gx10-1": "127.0.0.1"})
    server = gang.served(world.agents["gx10-2"], "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield world.agents["gx10-2"], server.server_address[1]
    server.shutdown()
    server.server_close()


ORDER = {"key": f"{G1}.1 stop", "want": "stop", "cluster": "four", "head": "gx10-1"}
"""As supervisors wrote it before messages had a version."""


def test_orders_and_reports_travel_over_http(obeying: tuple[Any, int]) -> None:
    agent, port = obeying
    link = gang.Link("127.0.0.1", port, "127.0.0.1")
    link.order = Order.parse(json.dumps(ORDER).encode())
    link.ask()
    assert str(link.report.described) == G1
    assert agent.order.key == f"{G1}.1 stop"
    assert agent.allegiance.foreign() == ()


@pytest.mark.parametrize(
    ("told", "source"),
    [({"cluster": "five"}, "127.0.0.1"), ({"head": "gx10-4"}, "127.0.0.1"), ({}, "127.0.0.9")],
    ids=["another cluster's head", "another head", "the head's name from another address"],
)
def test_an_order_of_another_head_changes_nothing_and_its_sender_hears_who_is_obeyed(
    obeying: tuple[Any, int], told: dict[str, str], source: str
) -> None:
    agent, port = obeying
    before = agent.order, agent.lease_until
    link = gang.Link("127.0.0.1", port, source)
    link.order = Order.parse(json.dumps({**ORDER, **told}).encode())
    link.ask()
    assert (agent.order, agent.lease_until) == before
    assert link.report is None
    assert link.refusal == Sworn(cluster="four", head="gx10-1", address="127.0.0.1")
    (sender,) = agent.allegiance.foreign()
    assert (sender.head, sender.address, sender.orders) == (told.get("head", "gx10-1"), source, 1)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"\xff", b"[" * 60_000, b"{}",
        json.dumps({**ORDER, "head": None}).encode(),
        json.dumps({**ORDER, "head": "\x1b[2Jgx10-1"}).encode(),
        json.dumps({**ORDER, "want": "reboot"}).encode(),
        json.dumps({**ORDER, "want": "run", "key": f"{G1}.1 run", "life": f"{G1}.1", "parts": ["shell"]}).encode(),
        json.dumps({**ORDER, "want": "run", "life": "../g.1", "parts": ["ray"]}).encode(),
        json.dumps({**ORDER, "kill_after": "soon"}).encode(),
        json.dumps({**ORDER, "restore": ["g1"]}).encode(),
        b" " * 70_000 + json.dumps(ORDER).encode(),
    ],
)  # fmt: skip
def test_what_is_no_order_is_refused_and_changes_nothing(obeying: tuple[Any, int], body: bytes) -> None:
    agent, port = obeying
    before = agent.order
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    connection.request("POST", "/", body)
    answer = connection.getresponse()
    assert (answer.status, "this is no order" in answer.read().decode()) == (400, True)
    connection.close()
    assert agent.order is before


def test_foreign_senders_are_remembered_up_to_a_bound_and_for_a_day() -> None:
    now, told = [0.0], []
    allegiance = gang_orders.Allegiance(CONFIG, lambda: now[0], told.append)
    for _ in range(3):
        for number in range(20):
            now[0] += 1
            assert not allegiance.owed(Order(cluster="four", head="gx10-4", want="stop"), f"10.0.1.{number}")
    assert len(allegiance.foreign()) == MOST_SENDERS
    now[0] += 2 * gang_orders.REMEMBERED_SECONDS
    assert allegiance.foreign() == ()
    before = len(told)
    for _ in range(500):
        allegiance.owed(Order(cluster="four", head="gx10-4", want="stop"), "10.0.1.1")
    assert len(told) == before + 1, "one line for a sender, not one for each order"
    assert allegiance.foreign()[0].orders == 500


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
        last = {"choices": [], "usage": {"completion_tokens": 1}}
        self.wfile.write(f"data: {json.dumps(last)}\n\ndata: [DONE]\n\n".encode())

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
        api = Api(f"http://127.0.0.1:{server.server_address[1]}", "m", past_door=True)
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
        for odd in ("NaN", "+Inf", "many"):
            Engine.text = COUNTERS.replace("} 3.0", f"}} {odd}")
            liveness.look()
            assert liveness.in_flight is None
        Engine.text = COUNTERS.replace("0.25", "0.26")
        liveness.look()
        assert liveness.moved_at > moved
        assert api.completion(".", 1, 5).tokens == 1
        server.shutdown()
    with pytest.raises(NoAnswer, match="refused"):
        api.completion(".", 1, 5)
    with pytest.raises(NoAnswer, match="refused"):
        api.metrics()


JOURNALCTL = r"""
import json, sys
def entry(text, who="docker"):
    moment = str(int(sys.argv[sys.argv.index("--since") + 1][1:]) * 1000000)
    print(json.dumps({"__REALTIME_TIMESTAMP": moment, "MESSAGE": text, "SYSLOG_IDENTIFIER": who}))
if "--dmesg" in sys.argv:
    entry("Out of memory: Killed process 4711 (ray::RayWorker)")
    entry("usb 1-1: new device")
elif "ray" in sys.argv:
    print("no JSON")
    entry("")
    entry(list(b"\x1b[31mINFO:   load\xffing"))
    entry("RuntimeError: last words")
    entry("ray-head.service: Failed with result 'exit-code'.", "systemd")
"""


def test_evidence_holds_kernel_lines_what_says_why_and_whether_memory_ran_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", command_on_path(tmp_path, "journalctl", JOURNALCTL)["PATH"])
    moment = int(time.time())
    told = gang_evidence.collect({**CONFIG, "engine_unit": None}, moment)
    assert told["kernel"] == [[moment, "Out of memory: Killed process 4711 (ray::RayWorker)"]]
    assert len(told["out_of_memory"]) == 1
    assert told["telling"] == {"ray": [[moment, "RuntimeError: last words"]]}
    logged = ["INFO:   load\ufffding", "RuntimeError: last words", "ray-head.service: Failed with result 'exit-code'."]
    assert told["logs"] == {"ray": [[moment, text] for text in logged]}
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


def files_of(path: Path, **told: Any) -> gang_kept.Files:  # noqa: ANN401
    """Two files of a gang below a directory."""
    config = {**CONFIG, "files": ["/etc/gx10/generation.env", "/etc/unit"], **told}
    return gang_kept.Files(config, path, path / "kept")


def describe(path: Path, generation: str) -> None:
    """Deploy."""
    (path / "etc/gx10").mkdir(parents=True, exist_ok=True)
    (path / "etc/unit").write_text(f"unit of {generation}")
    (path / "etc/gx10/generation.env").write_text(f"GX10_GENERATION={generation}\n")


def test_a_kept_generation_is_put_back_whole_and_another_is_never_kept_under_its_name(tmp_path: Path) -> None:
    files = files_of(tmp_path)
    describe(tmp_path, G1)
    assert files.keep(Generation(G1))
    describe(tmp_path, G2)
    assert not files.keep(Generation(G1)), "what stands there is not g1"
    assert (str(files.described()), str(files.kept())) == (G2, G1)
    assert not files.restore(Generation(G3))
    assert files.restore(Generation(G1))
    assert str(files.described()) == G1
    assert (tmp_path / "etc/unit").read_text() == f"unit of {G1}"


def test_a_generation_whose_units_call_programs_that_are_gone_is_not_put_back(tmp_path: Path) -> None:
    program = tmp_path / "usr/local/lib/earlier/gate.py"
    program.parent.mkdir(parents=True)
    program.touch()
    describe(tmp_path, G1)
    lines = "ExecStartPre=-/usr/local/lib/earlier/gate.py --now\nExecStart=/usr/bin/docker run /usr/local/bin/no-such\n"
    (tmp_path / "etc/unit").write_text(f"[Service]\n{lines}")
    assert files_of(tmp_path).keep(Generation(G1))
    describe(tmp_path, G2)
    assert files_of(tmp_path).kept() == Generation(G1)
    program.unlink()
    assert files_of(tmp_path).kept() is None
    assert not files_of(tmp_path).restore(Generation(G1))
    assert files_of(tmp_path).described() == Generation(G2)


@pytest.mark.parametrize(
    "told",
    [{"head": "gx10-2"}, {"hosts": {"gx10-1": "10.0.0.1"}}, {"hosts": {**CONFIG["hosts"], "gx10-4": "10.0.0.99"}}],
    ids=["another head", "fewer hosts", "another address"],
)
def test_a_generation_of_another_membership_is_never_put_back(tmp_path: Path, told: dict[str, Any]) -> None:
    describe(tmp_path, G1)
    assert files_of(tmp_path).keep(Generation(G1))
    describe(tmp_path, G2)
    assert not files_of(tmp_path, **told).restore(Generation(G1))
    assert files_of(tmp_path, **told).described() == Generation(G2)
    assert files_of(tmp_path).restore(Generation(G1))


def test_a_generation_that_was_kept_without_its_membership_is_kept_anew_before_it_is_put_back(tmp_path: Path) -> None:
    files = files_of(tmp_path)
    describe(tmp_path, G1)
    assert files.keep(Generation(G1))
    kept = tmp_path / "kept/kept.json"
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "membership": None}))
    files = files_of(tmp_path)
    describe(tmp_path, G2)
    assert not files.restore(Generation(G1))
    describe(tmp_path, G1)
    assert files.keep(Generation(G1))
    describe(tmp_path, G2)
    assert files.restore(Generation(G1))


def test_control_waits_for_what_it_asked_for(tmp_path: Path) -> None:
    env = command_on_path(tmp_path / "bin", "systemctl", "pass")
    settings = {"gang_control.WISH": Path(tmp_path / "wish.json"), "gang_control.PICTURE": Path(tmp_path / "gang.json")}
    picture: dict[str, Any] = {"phase": "starting", "life": f"{G1}.1", "waiting": [], "handled": "", "since": 0}
    picture |= {"failures": 0, "attempts": 4}

    program = "from gx10_host.gang import control as gang_control; import pathlib, sys; "
    program += "".join(f"{name} = pathlib.Path({str(path)!r}); " for name, path in settings.items())
    program += "gang_control.ask.__defaults__ = (gang_control.WISH,); "
    program += "gang_control.picture.__defaults__ = (gang_control.PICTURE,); gang_control.main(sys.argv[1:])"
    with subprocess.Popen(
        [*PYTHON, "-c", f"import sys; sys.path.insert(0, {str(LIBRARY)!r}); {program}", "restart", "--seconds", "30"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **env},
    ) as control:  # fmt: skip
        assert wait_until((tmp_path / "wish.json").exists)
        told = {**picture, "handled": json.loads((tmp_path / "wish.json").read_text())["id"]}
        for phase in ("draining", "starting", "serving"):
            (tmp_path / "new").write_text(json.dumps({"picture": {**told, "phase": phase}}))
            (tmp_path / "new").rename(tmp_path / "gang.json")
            # Ends with the command itself, which waits no longer than it is told.
            said = next((line for line in control.stdout or () if phase in line), "")
        assert control.wait(timeout=SECONDS) == 0, control.stderr and control.stderr.read()
    assert f"gang: serving {G1}.1 after" in said


SERVING = {"phase": "serving", "life": f"{G2}.3"}
PUT_BACK = {"from": G2, "to": G1, "reason": "no completion"}


@pytest.mark.parametrize(
    ("want", "now", "came", "why_not"),
    [
        ("restart", SERVING, True, ""),
        ("restart", {**SERVING, "life": f"{G1}.3"}, False, ""),
        (
            "restart", {**SERVING, "life": f"{G1}.3", "rolled_back": PUT_BACK}, False,
            f"generation {G2} did not start, and {G1} was put back: no completion",
        ),
        ("restart", {"phase": "failed", "life": f"{G2}.3", "spent": "4 attempts"}, False,
         "the budget is spent: 4 attempts"),
        ("start", {"phase": "deposed", "life": "", "reason": "every other host obeys gx10-2"}, False,
         "this host stands down: every other host obeys gx10-2"),
        ("stop", {"phase": "stopped", "life": ""}, True, ""),
        ("stop", {"phase": "deposed", "life": ""}, True, ""),
        ("stop", {"phase": "ending", "life": ""}, False, ""),
    ],
)  # fmt: skip
def test_only_what_was_asked_for_is_success(want: str, now: dict[str, Any], came: bool, why_not: str) -> None:
    assert gang_control.done(want, now, G2) == (came, why_not)


AT = {"life": "g.2", "waiting": [], "since": 0, "failures": 0, "attempts": 4, "handled": "me"}


@pytest.mark.parametrize(
    ("now", "says"),
    [
        ({"phase": "starting", "started_in": None}, "starting g.2, for 30 s"),
        (
            {"phase": "starting", "failures": 1, "failed_for": "ray on gx10-3 ended (signal 9)", "started_in": 68},
            "starting g.2, attempt 2 of 4 (the last: ray on gx10-3 ended (signal 9)), for 30 s; "
            "the last start took 68 s",
        ),
        ({"phase": "ending", "reason": "no completion within 60 s"}, "ending g.2 (no completion within 60 s)"),
        (
            {"phase": "gathering", "failures": 2, "failed_for": "x", "waiting": ["gx10-3 is off"]},
            "gathering g.2, attempt 3 of 4 (the last: x): gx10-3 is off",
        ),
        ({"phase": "serving", "failures": 1}, "serving g.2"),
    ],
)
def test_who_waits_sees_attempts_reasons_and_how_long_the_last_start_took(
    now: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gang_control.time, "time", lambda: 30.0)
    assert gang_control.sentence({**AT, **now}) == says


def waiting(pictures: list[dict[str, Any]], want: str, monkeypatch: pytest.MonkeyPatch, seconds: float = 60) -> int:
    """Exit status of who waits while the supervisor shows pictures, one each half second."""
    now = iter(pictures)
    monkeypatch.setattr(gang_control, "picture", lambda: next(now))
    clock = [0.0]
    monkeypatch.setattr(gang_control.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(gang_control.time, "sleep", lambda spent: clock.__setitem__(0, clock[0] + spent))
    arguments = SimpleNamespace(want=want, generation=G2, seconds=seconds)
    status: int = gang_control.follow(arguments, "me")
    return status


def test_a_roll_back_and_the_budget_are_seen_and_are_statuses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    starting = {**AT, "phase": "starting", "life": f"{G2}.3"}
    concluded = {**starting, "phase": "gathering", "conclusion": f"generation {G2} did not start: {G1} is put back"}
    back = {**concluded, "phase": "serving", "life": f"{G1}.4", "rolled_back": PUT_BACK}
    assert waiting([starting, concluded, concluded, back], "restart", monkeypatch) == gang_control.OTHERWISE
    said = capsys.readouterr()
    assert said.out.count(f"generation {G2} did not start: {G1} is put back") == 1
    assert f"{G1} was put back: no completion" in said.err
    assert waiting([{**AT, "phase": "serving", "life": f"{G2}.3"}], "start", monkeypatch) == 0
    late = waiting([starting] * 100, "start", monkeypatch, seconds=5)
    assert late == gang_control.LATE


def test_an_interrupted_wait_says_that_the_supervisor_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gang_control, "ask", lambda _: "me")
    monkeypatch.setattr(gang_control, "follow", interrupted)
    monkeypatch.setattr(gang_control.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0))
    monkeypatch.setattr(sys, "argv", ["gx10-host", "restart"])
    with pytest.raises(SystemExit) as left:
        gang_control.main(sys.argv[1:])
    assert left.value.code == 130
    assert "gx10-gang.service goes on with `restart`" in capsys.readouterr().err


def test_a_host_that_is_no_head_shows_no_gang_that_it_once_had(tmp_path: Path) -> None:
    (tmp_path / "metrics").mkdir()
    shown = [tmp_path / "gang.json", tmp_path / "metrics/gx10_gang.prom"]
    for path in [*shown, tmp_path / "past.json"]:
        path.touch()
    gang_store.forget(tmp_path, tmp_path)
    gang_store.forget(tmp_path, tmp_path)
    assert not any(path.exists() for path in shown)
    assert (tmp_path / "past.json").exists(), "the number of its last life only grows"

"""A pair of supervisors that run and serve lives on, whatever orders and reports reach them."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from gx10_host.checked import Refused
from gx10_host.gang import exchange
from gx10_host.gang import supervisor as gang
from gx10_host.gang.guard import Guard
from gx10_host.wire import MOST_FAULTS, Envelope, Order, Report
from hypothesis import given

from .gang_world import CONFIG, G1, G2, NAMES, World
from .host_side import LIBRARY, SECONDS, free_port, wait_until
from .test_gang_host import COUNTERS, Engine
from .test_wire import BUSY, REPORTS

HEAD, WORKER, RELAY, STRANGER = "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.9"
RANDOM_ORDERS = RANDOM_REPORTS = 1000
MOST_GROWTH_KIB = 10 * 1024
ODD: list[Any] = [
    None, True, -1, 10**400, 1.5, "", "\x1b[2J", "a\nb", "../..", "x" * 5000, [], [[]], {}, {"a": {}}, ["\ud800"], "\0",
]  # fmt: skip
ORDER: dict[str, Any] = {
    "wire": 1, "key": f"{G1}.1 run", "cluster": "four", "head": "gx10-1", "want": "run", "life": f"{G1}.1",
    "start": False, "parts": ["ray"], "fallback": 0, "keep": G1, "restore": G1, "fault": False, "kill_after": 5,
}  # fmt: skip
REPORT: dict[str, Any] = {
    "wire": 1, "key": f"{G1}.1 run", "boot": "boot", "time": 1.0, "age": 0, "described": G1, "kept": G1,
    "kept_for": {"head": "gx10-1", "hosts": {"gx10-1": HEAD}}, "lives": [], "idle": False,
    "started": {"life": f"{G1}.1", "parts": ["ray"], "since": 1}, "parts": {"ray": {"state": "active"}},
    "available_gib": 1, "needs": [], "leaving": False, "foreign": [], "malformed": [], "faults": [],
    "evidence": {"life": f"{G1}.1", "ended": {}, "kernel": [], "out_of_memory": [], "telling": {}, "logs": {}},
}  # fmt: skip
RAW = [
    b"", b"null", b"[]", b"{}", b"\xff\xfe", b"[" * 10_000, b'{"a":' * 3000, b'"' * 9999, b'{"wire":NaN}',
    json.dumps(ORDER).encode("utf-16"), b" " * 16_385, json.dumps(ORDER).encode()[:-1], b'{"wire":1,"wire":1}',
]  # fmt: skip
REQUESTS = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 419430400\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
    b"POST / HTTP/1.1\r\nX: " + b"y" * 100_000,
    b"\0" * 20_000,
    b"POST / HTTP/1.1\r\nContent-Length: 2\r\nGx10-Seal: none\r\n\r\n{}",
    b"\r\n\r\n",
]


def refused(parse: Callable[[bytes], object], document: object) -> bytes | None:
    """A document as bytes, where it is none that is accepted."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    with contextlib.suppress(Refused):
        parse(body)
        return None
    return body


def hand_made(parse: Callable[[bytes], object], good: dict[str, Any]) -> list[bytes]:
    """Every field with every odd value, every field left out, one too many, and what is no JSON."""
    assert refused(parse, good) is None
    documents = [{**good, key: odd} for key in good for odd in ODD]
    documents += [{key: value for key, value in good.items() if key != missing} for missing in good]
    documents += [{**good, "more": 1}, *RAW]  # type: ignore[list-item]
    return [body for document in documents if (body := refused(parse, document)) is not None]


def at_random(parse: Callable[[bytes], object], good: dict[str, Any], count: int, seed: int) -> Iterator[bytes]:
    """Documents and bytes that are none, changed in several places at random."""
    chance = random.Random(seed)  # noqa: S311 - the same each time is the point
    while count:
        document = json.loads(json.dumps(good))
        for _ in range(chance.randint(1, 3)):
            place = document
            while True:
                keys = list(place) if isinstance(place, dict) else list(range(len(place)))
                if not keys:
                    break
                key = chance.choice(keys)
                if not isinstance(place[key], dict | list) or chance.random() < 0.3:
                    place[key] = chance.choice([*ODD, chance.randbytes(8).hex(), chance.uniform(-1e12, 1e12)])
                    break
                place = place[key]
        body = bytearray(json.dumps(document).encode())
        for _ in range(chance.choice([0, 0, 1, 8])):
            body[chance.randrange(len(body))] = chance.randrange(256)
        if refused(parse, bytes(body)) is not None:
            count -= 1
            yield bytes(body)


class Relay:
    """Stands between head and worker: hands orders on, and answers with what it is given as long as it has any."""

    def __init__(self, port: int) -> None:
        self.port, self.answers, self.turn = port, list[bytes](), 0
        self.server = exchange.Server((RELAY, port), self.answer, lambda *_: None, lambda *_: None)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, envelope: Envelope, _source: str) -> tuple[int, bytes]:
        """Every fourth answer is the worker's own, so that the head does not take it for silent."""
        self.turn += 1
        if self.answers and self.turn % 4:
            return 200, self.answers.pop()
        return exchange.post(WORKER, self.port, HEAD, envelope)


class Pair:
    """A head and a worker that serve, as processes of their own."""

    def __init__(self, path: Path) -> None:
        self.path, self.port = path, free_port()
        self.engine = ThreadingHTTPServer((HEAD, 0), Engine)
        Engine.text = COUNTERS
        threading.Thread(target=self.engine.serve_forever, args=(0.01,), daemon=True).start()
        self.relay = Relay(self.port)
        self.processes = {
            name: self._supervisor(name, hosts)
            for name, hosts in (
                ("gx10-1", {"gx10-1": HEAD, "gx10-2": RELAY}),
                ("gx10-2", {"gx10-1": HEAD, "gx10-2": WORKER}),
            )
        }

    def _supervisor(self, name: str, hosts: dict[str, str]) -> subprocess.Popen[bytes]:
        directory = self.path / name
        (directory / "etc/gx10").mkdir(parents=True)
        (directory / "etc/gx10/generation.env").write_text(f"GX10_GENERATION={G1}\n")
        config = {
            **CONFIG, "hosts": hosts, "host": name, "engine_unit": "engine" if name == "gx10-1" else None,
            "port": self.port, "api_port": self.engine.server_address[1], "model": "m",
            "silence_seconds": 30, "lease_seconds": 60,
            "liveness": {"canary_seconds": 600, "deadline_seconds": 60, "misses": 3},
        }  # fmt: skip
        (directory / "config.json").write_text(json.dumps(config))
        with (directory / "journal").open("wb") as journal:
            program = Path(__file__).with_name("made_supervisor.py")
            return subprocess.Popen(
                [sys.executable, program, directory / "config.json", directory, "0.005"],
                stdout=journal, stderr=journal, env={**os.environ, "PYTHONPATH": str(LIBRARY)},
            )  # fmt: skip

    def picture(self) -> dict[str, Any]:
        """What the head shows."""
        try:
            picture: dict[str, Any] = json.loads((self.path / "gx10-1/gang.json").read_text())["picture"]
        except (OSError, ValueError):
            return {"phase": "", "life": ""}
        return picture

    def kib(self) -> dict[str, int]:
        """Memory of the supervisors."""
        return {
            name: int(Path(f"/proc/{process.pid}/status").read_text().partition("VmRSS:")[2].split()[0])
            for name, process in self.processes.items()
        }

    def journal(self, name: str) -> str:
        """What a supervisor said."""
        return (self.path / name / "journal").read_text()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """A pair that serves."""
    pair = Pair(tmp_path)
    try:
        assert wait_until(lambda: pair.picture()["phase"] == "serving", pause=0.05), pair.journal("gx10-1")
        yield pair
    finally:
        for process in pair.processes.values():
            process.kill()
            process.wait()
        pair.engine.shutdown()
        pair.engine.server_close()
        pair.relay.server.shutdown()
        pair.relay.server.server_close()


def raw(address: str, port: int, request: bytes) -> bytes:
    """Send bytes; whatever comes back before the connection ends."""
    answer = b""
    with contextlib.suppress(OSError), socket.create_connection((address, port), SECONDS) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        while received := connection.recv(65536):
            answer += received
    return answer


def test_malformed_orders_and_reports_are_counted_told_once_and_change_nothing(pair: Pair) -> None:
    orders, reports = hand_made(Order.parse, ORDER), hand_made(Report.parse, REPORT)
    assert min(len(orders), len(reports)) >= 100
    for address in (HEAD, WORKER):  # Whoever it comes from, and whatever it allocates once: the head's address too.
        for body in orders:
            assert exchange.post(address, pair.port, HEAD, Envelope(body))[0] == 400
        for request in REQUESTS:
            raw(address, pair.port, request)
    pair.relay.answers = list(reports)
    assert wait_until(lambda: not pair.relay.answers)
    before = pair.kib()
    for number, body in enumerate(at_random(Order.parse, ORDER, RANDOM_ORDERS, seed=1)):
        status, _ = exchange.post((HEAD, WORKER)[number % 2], pair.port, STRANGER, Envelope(body))
        assert status == 400, body
    pair.relay.answers = list(at_random(Report.parse, REPORT, RANDOM_REPORTS, seed=2))
    assert wait_until(lambda: not pair.relay.answers)
    grown = {name: kib - before[name] for name, kib in pair.kib().items()}
    assert max(grown.values()) <= MOST_GROWTH_KIB, grown
    assert all(process.poll() is None for process in pair.processes.values())
    counted = RANDOM_REPORTS + len(reports)

    def seen() -> bool:
        picture = pair.picture()
        sent = {(sender["address"], *sender["hosts"]): sender["messages"] for sender in picture["malformed"]}
        return (
            sent.get((RELAY, "gx10-1"), 0) >= counted and sent.get((STRANGER, "gx10-1", "gx10-2"), 0) >= RANDOM_ORDERS
        )

    assert wait_until(seen, pause=0.05), pair.picture()
    picture = pair.picture()
    assert (picture["phase"], picture["life"], picture["faults"]) == ("serving", f"{G1}.1", [])
    for name in pair.processes:
        assert pair.journal(name).count(f"what {STRANGER} sends is no order") == 1, pair.journal(name)
    assert pair.journal("gx10-1").count(f"what {RELAY} sends is no report") == 1
    metrics = (pair.path / "gx10-1/state/metrics/gx10_gang.prom").read_text()
    assert f'gx10_gang_malformed_messages{{cluster="four",address="{RELAY}",hosts="gx10-1"}}' in metrics


def test_connections_that_say_nothing_or_drip_crowd_nobody_out(pair: Pair) -> None:
    idle = [socket.create_connection((WORKER, pair.port), SECONDS) for _ in range(3 * exchange.MOST_CONNECTIONS)]
    dripping = socket.create_connection((WORKER, pair.port), SECONDS)
    until = time.monotonic() + exchange.ORDER_SECONDS + 2
    ended = False
    while time.monotonic() < until and not ended:
        status, _ = exchange.post(WORKER, pair.port, STRANGER, Envelope(json.dumps(ORDER).encode()))
        assert status == 403, "it is answered all the while"
        try:
            dripping.sendall(b"P")
            dripping.settimeout(0.1)
            ended = dripping.recv(1) == b""
        except TimeoutError:
            continue
        except OSError:
            ended = True
    assert ended, "a message has one deadline, whatever drips"
    threads = int(Path(f"/proc/{pair.processes['gx10-2'].pid}/status").read_text().partition("Threads:")[2].split()[0])
    assert threads <= exchange.MOST_CONNECTIONS + 20
    for connection in [*idle, dripping]:
        connection.close()
    picture = pair.picture()
    assert (picture["phase"], picture["life"]) == ("serving", f"{G1}.1")


@BUSY
@given(report=REPORTS)
def test_no_report_that_is_one_ends_a_step_of_the_head(
    report: Report, tmp_path_factory: pytest.TempPathFactory
) -> None:
    world = World(tmp_path_factory.mktemp("world"))
    for phase in ("gathering", "serving"):
        world.until(phase)
        world.links[NAMES[1]].report = world.links[NAMES[0]].report = report
        for _ in range(2):
            world.conductor.step()


def test_a_step_that_fails_is_told_once_and_stands_in_the_report_and_the_next_comes_as_ever(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.until("serving")
    agent, told = world.agents[NAMES[1]], list[str]()
    agent.guard.tell = told.append
    for number in range(5):

        def fail(number: int = number) -> None:
            raise KeyError(f"life {number}\nMAINPID=1")

        assert not agent.guard.run("judging", fail)
    assert agent.guard.run("judging", lambda: None)
    assert len(told) == 1
    assert "judging failed: KeyError" in told[0]
    assert "test_gang_wire.py:" in told[0]
    agent.step = lambda: None  # Where its own steps fail, the report is an older one, and says so all the same.
    world.pass_time(2)
    (fault,) = world.conductor.picture()["faults"]
    assert (fault["host"], fault["step"], fault["times"]) == (NAMES[1], "judging", 5)
    assert "life 4" in fault["error"]
    assert "\n" not in fault["error"]
    assert world.phase == "serving"


def test_failures_are_remembered_up_to_a_bound_and_one_that_exits_is_a_failure_too() -> None:
    guard = Guard(lambda _: None)

    def leave() -> None:
        raise SystemExit("no MemAvailable")

    for number in range(3 * MOST_FAULTS):
        guard.run(f"step {number}", leave)
    assert len(guard.faults()) == MOST_FAULTS


def test_a_supervisor_whose_own_judgement_fails_goes_on_and_lets_systemd_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, said = World(tmp_path), list[str]()
    monkeypatch.setattr(gang, "notify", said.append)
    loop = gang.Supervisor(world.config(NAMES[0]), world.agents[NAMES[0]], world.conductor, Guard(lambda _: None))
    world.agents[NAMES[0]].stepped = time.monotonic()
    world.conductor.step = lambda: 1 / 0
    assert loop.step(leaving=False)
    assert "WATCHDOG=1" in said, "one failure is none to start it anew for"
    said.clear()
    loop.judged -= gang.STEP_SECONDS
    assert loop.step(leaving=False)
    assert "WATCHDOG=1" not in said


def test_what_a_process_calls_itself_adds_no_line_to_what_systemd_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    world.hosts[NAMES[2]].processes["ray"] = f"{G2}.1\nMAINPID=1"
    world.hosts[NAMES[2]].kill = lambda but="": None  # type: ignore[method-assign]
    for agent in world.agents.values():
        agent.step()
    world.pass_time(3)
    assert world.conductor.now.waiting == (f"{NAMES[2]} still ends {G2}.1 MAINPID=1",)
    heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    gang.notify("STATUS=a\nMAINPID=1")
    assert heard.recv(1000) == b"STATUS=a MAINPID=1"
    heard.close()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[1]",
        b"\xff",
        b'{"number": "many", "failures": 3, "life": 5}',
        b'{"now": [], "life": {}, "parts": 7}',
    ],
    ids=["empty", "null", "a list", "no text", "other types", "another shape"],
)
def test_damaged_state_is_told_once_and_is_as_if_it_had_not_been_written(tmp_path: Path, content: bytes) -> None:
    world = World(tmp_path)
    world.until("serving")
    past, present = world.path / "state/past.json", world.path / "run/gang.json"
    started = world.path / NAMES[0] / "run/agent.json"
    for path in (past, present, started):
        path.write_bytes(content)
    world.told.clear()
    conductor, agent = world.conducted(), world.agent(NAMES[0])
    assert (conductor.past.number, conductor.now.life, agent.started.life) == (0, None, None)
    (world.path / "state/wish.json").write_bytes(content)
    for _ in range(3):
        conductor.step()
    told = [line for line in world.told if "wish.json" in line]
    assert len(told) == 1
    assert any("agent.json" in line for line in world.told)


def test_state_of_before_there_were_types_is_taken_up(tmp_path: Path) -> None:
    world = World(tmp_path)
    past = {"number": 7, "failures": [], "ends": [], "restarts": 2, "failed": False, "stopped": False, "fallback": 1}
    past |= {"good": G1, "rolled_back": {"from": G2, "to": G1, "time": 1.0, "reason": "r"}, "handled": "me"}
    now = {"phase": "serving", "life": f"{G1}.7", "since": 1.0, "began": 2.0, "waiting": [], "boots": {"gx10-1": "b"}}
    now |= {"leaving": False, "failures": 0, "number": 7, "restarts": 2, "fallback": 1, "rolled_back": None}
    now |= {"incident": None, "reason": "", "served": 3.0, "stable": True, "planned": False, "not_before": 0}
    (world.path / "state/past.json").write_text(json.dumps({**past, "started_in": 68}))
    (world.path / "run/gang.json").write_text(json.dumps({"now": now, "picture": {}}))
    started = {"life": f"{G1}.7", "parts": ["ray"], "since": 1.0}
    (world.path / NAMES[0] / "run").mkdir()
    (world.path / NAMES[0] / "run/agent.json").write_text(json.dumps(started))
    world.told.clear()
    conductor, agent = world.conducted(), world.agent(NAMES[0])
    assert (conductor.past.number, conductor.past.started_in, str(conductor.past.good)) == (7, 68, G1)
    assert (conductor.now.phase, str(conductor.now.life), conductor.now.stable) == ("serving", f"{G1}.7", True)
    assert (str(agent.started.life), agent.started.parts) == (f"{G1}.7", ("ray",))
    assert world.told == []

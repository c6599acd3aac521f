"""The gates before a start and the proofs after it: exact, bounded, and each refusal a sentence."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from .host_side import SECONDS, Code, command_on_path, free_port, refused, run, start

RAY = r"""
import os, pathlib, sys, time
home = pathlib.Path(os.environ["FAKE_RAY"])
with (home / "asked").open("a") as log:
    log.write(" ".join(sys.argv[1:]) + "\n")
if (home / "hangs").exists():
    time.sleep(60)
if not (home / "status").exists():
    sys.exit("Error response from daemon: No such container: gx10-ray")
print((home / "status").read_text())
"""
STATUS = """======== Autoscaler status: 2026-01-01 00:00:00 ========
Node status
---------------------------------------------------------------
Active:
 1 node_aa
 1 node_bb
Recent failures:
 (no failures)

Resources
---------------------------------------------------------------
Total Usage:
 0.0/8.0 CPU
 {gpus}
 0B/39.64GiB memory
 0B/4.00GiB object_store_memory

Demands:
 {{'GPU': 1.0}}: 1+ pending tasks/actors
"""


@pytest.fixture
def ray(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Set what `ray status` says of GPUs; returns the environment in which docker says it."""
    env = {**command_on_path(tmp_path / "bin", "docker", RAY), "FAKE_RAY": str(tmp_path)}

    def says(gpus: str) -> dict[str, str]:
        partial = tmp_path / "status.new"
        partial.write_text(STATUS.format(gpus=gpus))
        partial.rename(tmp_path / "status")
        return env

    return says


GANG = ("--container", "gx10-ray", "--gpus", 4)


def test_gang_gate_opens_on_the_exact_total_with_none_in_use(
    ray: Callable[[str], dict[str, str]], tmp_path: Path
) -> None:
    done = run("engine-gate", *GANG, "--seconds", 20, env=ray("0.0/4.0 GPU"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "asked").read_text().splitlines() == ["exec gx10-ray ray status"]


@pytest.mark.parametrize(
    ("gpus", "told"),
    [
        ("0.0/3.0 GPU", "0 of 3 GPUs in use, expected 0 of 4"),
        ("0.0/5.0 GPU", "0 of 5 GPUs in use, expected 0 of 4"),
        ("1.0/4.0 GPU", "1 of 4 GPUs in use, expected 0 of 4"),
        ("4.0/4.0 GPU (4.0 used of 4.0 reserved in placement groups)", "4 of 4 GPUs in use"),
        ("0.0/4.0 GPUS_OF_ANOTHER_KIND", "Ray does not answer"),
        ("", "Ray does not answer"),
    ],
    ids=["one missing", "one twice", "one in use", "all in use", "another resource", "none"],
)
def test_gang_gate_stays_closed_on_any_other_total(ray: Callable[[str], dict[str, str]], gpus: str, told: str) -> None:
    started = time.monotonic()
    refused(run("engine-gate", *GANG, "--seconds", 1, env=ray(gpus)), "gave up after 1 s", told)
    assert time.monotonic() - started < 15


def test_gang_gate_opens_when_the_last_rank_joins(ray: Callable[[str], dict[str, str]]) -> None:
    running = start("engine-gate", *GANG, "--seconds", SECONDS, env=ray("0.0/3.0 GPU"))
    assert running.stdout
    assert "0 of 3 GPUs in use" in running.stdout.readline()
    ray("0.0/4.0 GPU")
    assert running.wait(SECONDS) == 0
    running.communicate()


def test_gang_gate_tells_why_ray_does_not_answer(ray: Callable[[str], dict[str, str]], tmp_path: Path) -> None:
    env = ray("0.0/4.0 GPU")
    (tmp_path / "status").unlink()
    refused(run("engine-gate", *GANG, "--seconds", 0, env=env), "No such container: gx10-ray")
    (tmp_path / "hangs").touch()
    started = time.monotonic()
    refused(run("engine-gate", *GANG, "--seconds", 1, env=env), "no answer within 1 s")
    assert time.monotonic() - started < 20, "one answer held up the bound"
    refused(run("engine-gate", *GANG, "--seconds", 0, env={**env, "PATH": str(tmp_path)}), "docker does not run")


def test_rank_gate_opens_on_a_host_that_can_carry_a_rank() -> None:
    with socket.create_server(("127.0.0.1", 0)) as head:
        address = f"127.0.0.1:{head.getsockname()[1]}"
        words = ("--address", "127.0.0.1", "--needed-to-start-gib", 0.01, "--seconds", 10, "--head", address)
        done = run("rank-gate", *words)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--address", "192.0.2.1"), "fabric address 192.0.2.1 is not up: is the cable in"),
        (("--address", "2001:db8::1"), "fabric address 2001:db8::1 is not up"),
        (
            ("--address", "127.0.0.1", "--needed-to-start-gib", 10**6),
            "a rank needs 1e+06: an older rank still holds it",
        ),
        (("--address", "127.0.0.1", "--head", "127.0.0.1:1"), "the Ray head does not answer at 127.0.0.1:1"),
    ],
    ids=["no address", "no IPv6 address", "no memory", "no head"],
)
def test_rank_gate_tells_what_is_missing_and_gives_up(words: tuple[object, ...], told: str) -> None:
    refused(run("rank-gate", *words, "--seconds", 0), "gave up after 0 s", told)


def test_rank_gate_stays_closed_while_the_cable_is_out(tmp_path: Path) -> None:
    unplugged = command_on_path(tmp_path, "ip", "import json; print(json.dumps([{}, {'ifname': 'fabric0'}]))")
    state = {"pathlib.Path.read_text": Code("lambda path: 'lowerlayerdown\\n' if path.name == 'operstate' else ''")}
    words = ("--address", "127.0.0.1", "--seconds", 0)
    refused(run("rank-gate", *words, env=unplugged, settings=state), "is the cable in")


def test_rank_gate_opens_when_the_head_answers() -> None:
    port = free_port()
    words = ("--address", "127.0.0.1", "--seconds", SECONDS, "--head", f"127.0.0.1:{port}")
    running = start("rank-gate", *words)
    assert running.stdout
    assert "the Ray head does not answer" in running.stdout.readline()
    with socket.create_server(("127.0.0.1", port)):
        assert running.wait(SECONDS) == 0
    running.communicate()


def test_rank_gate_goes_on_where_the_page_cache_cannot_be_dropped() -> None:
    closed = {
        "os.sync": Code("lambda: None"),
        "pathlib.Path.write_text": Code("lambda path, text: open('/nowhere/at/all')"),
    }
    done = run("rank-gate", "--address", "127.0.0.1", "--seconds", 5, "--drop-page-cache", settings=closed)
    assert done.returncode == 0, done.stderr
    assert "the page cache stays" in done.stdout


ANSWER = {"choices": [{"message": {"content": "Hello", "reasoning": "Hm. "}}], "usage": {"completion_tokens": 5}}
METRICS = """# HELP vllm:cache_config_info Information of the LLMEngine CacheConfig
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{block_size="16",cache_dtype="fp8",engine="0",gpu_memory_utilization_gb="108.0",q="a\\"b"} 1.0
vllm:num_requests_running{engine="0"} 0.0
"""


def streamed(body: object) -> bytes:
    """An answer as a stream, as far as it is one."""
    if not isinstance(body, dict) or not body.get("choices"):
        return json.dumps(body).encode()
    message = body["choices"][0]["message"]
    deltas = [{"role": "assistant"}, {"reasoning": message["reasoning"]}, {"content": message["content"]}]
    chunks: list[object] = [{"choices": [{"delta": delta}]} for delta in deltas]
    chunks.append({"choices": [], "usage": body["usage"]})
    end = b"data: [DONE]\n\n" if not body.get("cut") else b""
    return b"".join(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks) + end


class Engine(ThreadingHTTPServer):
    """An API that answers one prepared reply after the other, the last one for ever."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies: list[tuple[int, object]] = [(200, ANSWER)]
        self.asked: list[dict[str, object]] = []
        self.released = threading.Event()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def reply(self) -> tuple[int, object]:
        """The next reply."""
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


class Handler(BaseHTTPRequestHandler):
    """Answers for an Engine."""

    server: Engine
    protocol_version = "HTTP/1.0"

    def do_POST(self) -> None:
        """A completion."""
        self.server.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        status, body = self.server.reply()
        if status == 0:
            self.server.released.wait(SECONDS)
            return
        self._answer(status, streamed(body) if status == 200 else json.dumps(body).encode())

    def do_GET(self) -> None:
        """Metrics and models."""
        self._answer(200, METRICS.encode() if self.path == "/metrics" else b'{"data": [{"id": "nano"}]}')

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine's API on 127.0.0.1."""
    with Engine() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.released.set()
        server.shutdown()


def test_completion_tells_text_tokens_and_seconds(engine: Engine) -> None:
    done = run("completion", "--url", engine.url, "--model", "nano", "--prompt", "Hi", "--tokens", 3)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["text"], told["tokens"]) == ("Hm. Hello", 5)
    assert told["seconds"] >= 0
    assert engine.asked[0]["model"] == "nano"
    assert engine.asked[0]["max_tokens"] == 3
    assert engine.asked[0]["stream"] is True
    assert engine.asked[0]["messages"] == [{"role": "user", "content": "Hi"}]


def test_completion_tells_the_cache_the_engine_runs_with(engine: Engine) -> None:
    done = run("completion", "--url", engine.url, "--model", "nano", "--metrics")
    config = json.loads(done.stdout)["cache_config"]
    assert config["gpu_memory_utilization_gb"] == "108.0"
    assert config["cache_dtype"] == "fp8"
    assert config["q"] == 'a\\"b'


def test_completion_waits_over_an_engine_that_is_not_ready(engine: Engine) -> None:
    empty = {**ANSWER, "usage": {"completion_tokens": 0}}
    engine.replies = [(503, {}), (500, {}), (200, empty), (200, {"choices": []}), (200, ANSWER)]
    done = run("completion", "--url", engine.url, "--model", "nano", "--wait", SECONDS)
    assert done.returncode == 0, done.stderr
    assert len(engine.asked) == 5


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (503, {"error": "loading"}, "HTTP 503"),
        (200, {**ANSWER, "usage": {"completion_tokens": 0}}, "holds no token"),
        (200, {**ANSWER, "usage": None}, "no chat completion"),
        (200, {"choices": []}, "no chat completion"),
        (200, "text", "no chat completion"),
        (200, {**ANSWER, "cut": True}, "did not end"),
    ],
    ids=["not ready", "zero tokens", "no usage", "no choice", "no object", "cut off"],
)
def test_answer_without_a_token_is_no_completion(engine: Engine, status: int, body: object, told: str) -> None:
    engine.replies = [(status, body)]
    refused(run("completion", "--url", engine.url, "--model", "nano"), "nano at http", "did not answer", told)
    assert len(engine.asked) == 1, "without --wait it asks once"


def test_answer_that_no_waiting_changes_is_told_at_once(engine: Engine) -> None:
    engine.replies = [(404, {"message": "The model `other` does not exist."})]
    started = time.monotonic()
    refused(run("completion", "--url", engine.url, "--model", "other", "--wait", SECONDS), "HTTP 404", "does not exist")
    assert time.monotonic() - started < SECONDS / 2
    assert len(engine.asked) == 1


def test_engine_that_never_answers_is_given_up_within_the_bound(engine: Engine) -> None:
    engine.replies = [(0, None)]
    started = time.monotonic()
    refused(run("completion", "--url", engine.url, "--model", "nano", "--wait", 2), "did not answer")
    assert time.monotonic() - started < 20


def test_port_where_nothing_listens_is_told_so() -> None:
    refused(run("completion", "--url", f"http://127.0.0.1:{free_port()}", "--model", "nano"), "Connection refused")


def test_proxy_of_the_environment_is_not_asked_for_the_own_engine(engine: Engine) -> None:
    proxy = dict.fromkeys(("http_proxy", "HTTP_PROXY", "all_proxy"), "http://127.0.0.1:1")
    done = run("completion", "--url", engine.url, "--model", "nano", env={**proxy, "no_proxy": ""})
    assert done.returncode == 0, done.stderr

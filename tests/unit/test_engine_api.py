"""The engine's API, asked of a real server on the loopback: whatever comes, an answer or a refusal comes in time."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gx10_host.engine import api as engine_api
from gx10_host.engine.api import VLLM, Api, Dialect, Metrics, NoAnswer

from .host_side import free_port

SECONDS = 0.4
"""What a question may take here."""
LATE = 5
"""Far more than that, and far less than what a server here would go on for."""
HEAD = b"HTTP/1.1 200 OK\r\n"
Says = Callable[[socket.socket], None]


class Server(socketserver.ThreadingTCPServer):
    """Hears a request and then does whatever a test wants with the connection; remembers what was asked and whence."""

    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.says: Says = lambda _: None
        self.over = threading.Event()
        self.heard: list[tuple[str, bytes, bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Connection(socketserver.StreamRequestHandler):
    """One request."""

    server: Server

    def handle(self) -> None:
        """Hear it, and answer."""
        first, length = self.rfile.readline(), 0
        while (line := self.rfile.readline().strip()) != b"":
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        self.server.heard.append((self.client_address[0], first.strip(), self.rfile.read(length)))
        with contextlib.suppress(OSError):
            self.server.says(self.request)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that a test tells what to say."""
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.over.set()
        server.shutdown()


def whole(body: bytes, status: str = "200 OK") -> Says:
    """An answer as it should be."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    return lambda connection: connection.sendall(head + body)


def stream(*chunks: object, end: bytes = b"data: [DONE]\n\n") -> Says:
    """A streamed answer, as engines send it."""
    lines = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks] + [end]
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(line), line) for line in lines if line)
    return lambda connection: connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked + b"0\r\n\r\n")


def delta(**fields: object) -> dict[str, Any]:
    """A chunk with a part of the text."""
    return {"id": "x", "choices": [{"index": 0, "delta": fields, "finish_reason": None}], "usage": None}


USAGE = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}


def ask(question: str, server: Server) -> object:
    """Ask one of the questions, with little time."""
    api = Api(server.url, "nano")
    if question == "models":
        return api.models()
    if question == "metrics":
        return api.metrics(SECONDS)
    return api.tokenize("text", SECONDS) if question == "tokenize" else api.completion("Hi", 2, SECONDS)


@pytest.fixture(autouse=True)
def little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """No question takes longer than these tests want."""
    monkeypatch.setattr(engine_api, "ANSWER_SECONDS", SECONDS)


# Answers


def test_a_completion_is_the_text_with_its_reasoning_and_what_the_engine_counted(server: Server) -> None:
    server.says = stream(delta(role="assistant"), delta(reasoning_content="Hm. "), delta(content="Hel\nlo"), USAGE)
    answer = Api(server.url, "nano").completion("Hi", 7, LATE)
    assert (answer.text, answer.tokens) == ("Hm. Hel\nlo", 2)
    assert answer.first_seconds is not None
    assert 0 <= answer.first_seconds <= answer.seconds
    source, first, body = server.heard[0]
    assert (source, first) == ("127.0.0.1", b"POST /v1/chat/completions HTTP/1.1")
    asked = json.loads(body)
    assert (asked["model"], asked["max_tokens"], asked["stream"]) == ("nano", 7, True)


def test_models_and_tokens_are_what_the_engine_says(server: Server) -> None:
    server.says = whole(b'{"object": "list", "data": [{"id": "nano", "max_model_len": 9}, {"id": "other"}]}')
    assert ask("models", server) == ["nano", "other"]
    server.says = whole(json.dumps({"count": 60_000, "tokens": [7] * 60_000}).encode())
    assert Api(server.url, "nano").tokenize("text", LATE) == 60_000
    assert json.loads(server.heard[1][2]) == {"model": "nano", "prompt": "text"}


def test_past_the_door_is_asked_from_where_the_door_lets_in(server: Server) -> None:
    server.says = whole(b"")
    Api(server.url, past_door=True).metrics(LATE)
    assert server.heard[0][:2] == ("127.0.0.2", b"GET /metrics HTTP/1.1")


OTHER = Dialect(
    models="/models", completions="/chat", metrics="/prometheus/metrics", tokenize=None, running="o_running",
    waiting="o_queued", moving=("o_tokens_total",), configuration="o_config",
)  # fmt: skip


def test_another_engine_is_a_row_of_the_table(server: Server) -> None:
    api = Api(f"{server.url}/base/", "nano", dialect=OTHER)
    server.says = whole(b'o_running{tp_rank="0"} 1\no_queued 2\no_tokens_total{a="b"} 7\no_config{dtype="fp8"} 1\n')
    assert api.metrics(LATE) == Metrics(("1", "2", "7"), 3, {"dtype": "fp8"})
    server.says = whole(b'{"data": [{"id": "nano"}]}')
    assert api.models() == ["nano"]
    server.says = stream(delta(content="Hi"), USAGE)
    assert api.completion("Hi", 2, LATE).text == "Hi"
    paths = [first.split()[1] for _, first, _ in server.heard]
    assert paths == [b"/base/prometheus/metrics", b"/base/models", b"/base/chat"]
    with pytest.raises(NoAnswer, match="does not count tokens") as refusal:
        api.tokenize("text", LATE)
    assert refusal.value.final


# Metrics


@pytest.mark.parametrize(
    ("running", "waiting", "in_flight"),
    [("2", "3", 5), ("0.0", "0", 0), ("2", None, None), (None, "0", None), ("NaN", "0", None), ("0", "many", None)],
)
def test_requests_in_flight_are_known_only_where_both_gauges_are(
    running: str | None, waiting: str | None, in_flight: float | None
) -> None:
    lines = [f'{VLLM.running}{{engine="0"}} {running}'] if running else []
    lines += [f"{VLLM.waiting} {waiting}"] if waiting else []
    assert Metrics.parse("\n".join([*lines, 'vllm:num_requests_waiting_by_reason{a="b"} 9', ""])).in_flight == in_flight


@pytest.mark.parametrize(
    "text",
    [
        f"{VLLM.running}{{\n" * 200_000,
        f"{VLLM.running} " * 200_000,
        VLLM.configuration + "{" + "a" * 4_000_000 + "} 1",
        VLLM.configuration + "{" + 'a="' * 1_000_000 + "} 1",
        VLLM.configuration + "{" + 'a="\\' * 1_000_000 + "} 1",
        VLLM.configuration + "{" + "}" * 4_000_000,
    ],
    ids=["open labels", "names", "a long word", "quotes", "escapes", "closed"],
)
def test_metrics_of_any_kind_are_read_in_time(text: str) -> None:
    started = time.monotonic()
    Metrics.parse(text)
    assert time.monotonic() - started < LATE


# What is no answer


def never(server: Server) -> Says:
    return lambda _: server.over.wait(60) and None


def dripping(server: Server, start: bytes, drop: bytes) -> Says:
    """Something that comes without a pause that any single read would notice, and does not end."""

    def says(connection: socket.socket) -> None:
        connection.sendall(start)
        while not server.over.wait(0.02):
            connection.sendall(drop)

    return says


def flooding(start: bytes, drop: bytes) -> Says:
    """Something that comes as fast as it is taken, and does not end."""

    def says(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(drop)

    return says


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
STREAMED = b"data: " + json.dumps(delta(content="a" * 1000)).encode() + b"\n\n"


@pytest.mark.parametrize("question", ["models", "metrics", "tokenize", "completion"])
@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"", b""),
        (b"", b"H"),
        (HEAD, b"X"),
        (HEAD + b"Content-Length: 1000000000000\r\n\r\n", b" "),
        (HEAD + b"\r\n", b" "),
        (HEAD + b"\r\n", b"\n"),
        (CHUNKED, b"1\r\n\n\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 503 Not Yet\r\n\r\n", b"x"),
    ],
    ids=["nothing", "status", "head", "promised body", "body", "empty lines", "chunks", "interim", "refusal"],
)
def test_an_answer_that_drips_is_given_up_at_the_deadline(
    server: Server, question: str, start: bytes, drop: bytes
) -> None:
    server.says = dripping(server, start, drop) if drop else never(server)
    started = time.monotonic()
    with pytest.raises(NoAnswer, match=r"no whole answer within 0\.4 s|HTTP 503"):
        ask(question, server)
    assert SECONDS * 0.9 <= time.monotonic() - started < LATE


@pytest.mark.parametrize("question", ["models", "metrics", "tokenize", "completion"])
@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (HEAD + b"\r\n", b"x" * 65536),
        (HEAD + b"\r\n", STREAMED * 60),
        (CHUNKED, b"10000\r\n" + b"\n" * 65536 + b"\r\n"),
        (HEAD, b"X-More: " + b"x" * 60000 + b"\r\n"),
        (HEAD, b"X" * 65536),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2000),
    ],
    ids=["body", "stream", "chunks", "headers", "one header", "interim"],
)
def test_an_answer_without_an_end_is_given_up_within_its_bytes(
    server: Server, question: str, start: bytes, drop: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bound in ("LONGEST_ANSWER", "LONGEST_STREAM"):
        monkeypatch.setattr(engine_api, bound, 1 << 20)
    monkeypatch.setattr(engine_api, "ANSWER_SECONDS", 60)
    server.says = flooding(start, drop)
    api, started = Api(server.url, "nano"), time.monotonic()
    ask_long = {
        "models": api.models,
        "metrics": lambda: api.metrics(60),
        "tokenize": lambda: api.tokenize("text", 60),
        "completion": lambda: api.completion("Hi", 2, 60),
    }
    with pytest.raises(NoAnswer, match=r"more than 1048576 bytes|got more than|no chat completion"):
        ask_long[question]()
    assert time.monotonic() - started < 30, "it waited for the end of its time, not of its bytes"


@pytest.mark.parametrize(
    ("says", "told"),
    [
        (lambda connection: connection.shutdown(socket.SHUT_WR), "closed connection without response"),
        (lambda connection: connection.sendall(HEAD + b"Content-Length: 9\r\n\r\n{}"), "ended 7 bytes early"),
        (lambda connection: connection.sendall(CHUNKED + b"9\r\n{}"), "IncompleteRead"),
        (lambda connection: connection.sendall(CHUNKED + b"nine\r\n{}"), "IncompleteRead"),
        (lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n"), "SSH-2.0"),
        (whole(b""), "no list of models: no JSON"),
        (whole(b"[]"), "no object"),
        (whole(b"\xff{"), "no JSON"),
        (whole(b'{"data": null}'), "data is NoneType, not a list"),
        (whole(b'{"data": [{"id": 7}]}'), "id is int, not a text"),
        (whole(b'{"data": [{"id": "a"}], "data": []}'), "a key stands twice"),
        (whole(b'{"data": ' + b"[" * 10_000), "nested deeper"),
        (whole(b'{"data": [' + b"{}," * 100_000 + b"{}]}"), "values"),
        (whole(b'{"message": "\x1b[2J not\nyet"}', "503 Service Unavailable"), r"HTTP 503: .*not yet"),
        (whole(b"", "302 Found\r\nLocation: http://127.0.0.1:1/"), "HTTP 302"),
    ],
)
def test_what_is_no_answer_is_a_sentence(server: Server, says: Says, told: str) -> None:
    server.says = says
    with pytest.raises(NoAnswer, match=told) as refusal:
        ask("models", server)
    assert not refusal.value.final
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) <= engine_api.LONGEST_REASON


@pytest.mark.parametrize(
    ("says", "told"),
    [
        (stream(delta(content="Hi"), USAGE, end=b""), "did not end"),
        (stream(delta(content="Hi")), "counts no tokens"),
        (stream({"choices": [], "usage": {"completion_tokens": 0}}), "holds no token"),
        (stream({"error": {"message": "the engine is dead"}}), "no chat completion: .*the engine is dead"),
        (stream({"choices": [{"delta": None}]}), "no chat completion"),
        (stream(delta(content=7)), "no chat completion"),
        (stream(end=b"data: {\n\ndata: [DONE]\n\n"), "no chat completion"),
        (stream(end=b"data: " + b"[" * 100_000 + b"\n\n"), "no chat completion"),
        (stream(delta(content="Hi"), {"choices": [], "usage": {"completion_tokens": "2"}}), "no chat completion"),
    ],
)
def test_a_stream_that_is_none_is_no_completion(server: Server, says: Says, told: str) -> None:
    server.says = says
    with pytest.raises(NoAnswer, match=told):
        Api(server.url, "nano").completion("Hi", 2, LATE)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 422, 429, 500, 503])
def test_an_answer_that_no_waiting_changes_is_told_apart(server: Server, status: int) -> None:
    server.says = whole(b"", f"{status} Such")
    with pytest.raises(NoAnswer, match=f"HTTP {status}") as refusal:
        ask("completion", server)
    assert refusal.value.final == (status in engine_api.FINAL)


def test_a_port_without_a_server_and_what_is_no_url_are_told() -> None:
    with pytest.raises(NoAnswer, match="refused"):
        Api(f"http://127.0.0.1:{free_port()}").models()
    for url in ("http://127.0.0.1:many", "http://[::1"):
        with pytest.raises(NoAnswer, match="is no URL"):
            Api(url)


def test_no_proxy_of_the_environment_is_asked(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server.says = whole(b'{"data": []}')
    assert ask("models", server) == []

"""The engine's API, as this host asks it: the one client for readiness, liveness, drain, checks and status.

Every question has a deadline for all of it, from connecting to the last byte, and a bound in bytes for all that comes:
an answer that drips, never ends or is none is `NoAnswer` in time. What differs between engines is a `Dialect`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from gx10_host.checked import MOST_VALUES, AtMost, Between, Free, Refused, clean, parse, read

from .bounded import Connection

OWN_ADDRESS = "127.0.0.2"
"""From here this host's own questions come past the door, which is closed to others now and then (see gang/door.py)."""
ANSWER_SECONDS = 5
"""For what an engine answers without generating."""
LONGEST_ANSWER, LONGEST_STREAM = 8 << 20, 64 << 20
LONGEST_CHUNK = 1 << 20
PART = 64 << 10
LONGEST_REASON, LONGEST_QUOTE = 500, 300
FINAL = (400, 401, 403, 404, 405, 422)
"""Statuses that say the request itself is wrong for what is served there."""
LABEL = re.compile(r'\b(\w++)="((?:[^"\\]|\\.)*+)"')
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What differs between engines: where they answer what, and how their metrics are named."""

    models: str = "/v1/models"
    completions: str = "/v1/chat/completions"
    metrics: str = "/metrics"
    tokenize: str | None = "/tokenize"
    """None where an engine counts no tokens of a text."""
    running: str
    waiting: str
    """Gauges of the requests that are worked on, and of those that are not yet."""
    moving: tuple[str, ...]
    """What moves when the engine does, beside these two."""
    configuration: str
    """The metric whose labels are what the engine really runs with."""


VLLM = Dialect(
    running="vllm:num_requests_running",
    waiting="vllm:num_requests_waiting",
    moving=(
        "vllm:iteration_tokens_total_sum",
        "vllm:iteration_tokens_total_count",
        "vllm:generation_tokens_total",
        "vllm:prompt_tokens_total",
        "vllm:kv_cache_usage_perc",
        "vllm:num_preemptions_total",
    ),
    configuration="vllm:cache_config_info",
)


class NoAnswer(Exception):
    """What was asked for did not come; the text is a sentence without its full stop."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(clean(reason, LONGEST_REASON))
        self.final = final
        """Whether no waiting changes it."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """What an engine's metrics say at one moment."""

    moving: tuple[str, ...]
    """Figures of all that moves when the engine does, as it writes them."""
    in_flight: float | None
    """Requests that run or wait; None where it does not say both."""
    configuration: Mapping[str, str]
    """What the engine really runs with."""

    @classmethod
    def parse(cls, text: str, dialect: Dialect = VLLM) -> Metrics:
        """Metrics from what an engine writes."""
        gauges = [_figures(text, dialect.running), _figures(text, dialect.waiting)]
        configured = re.search(rf"^{re.escape(dialect.configuration)}\{{(.*)\}} ", text, re.MULTILINE)
        return cls(
            moving=tuple(_figures(text, dialect.running, dialect.waiting, *dialect.moving)),
            in_flight=_sum(gauges[0] + gauges[1]) if all(gauges) else None,
            configuration=dict(LABEL.findall(configured[1])) if configured else {},
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer that came whole."""

    text: str
    tokens: int
    first_seconds: float | None
    """Until the first token; None where no text came."""
    seconds: float


class Api:
    """The API at a URL, for one model; `past_door` asks from where the door lets in while it is closed."""

    def __init__(self, url: str, model: str = "", *, past_door: bool = False, dialect: Dialect = VLLM) -> None:
        self.model, self.dialect = model, dialect
        self.source = (OWN_ADDRESS, 0) if past_door else None
        try:
            parts = urlsplit(url)
            self.host, self.port, self.base = parts.hostname or "", parts.port, parts.path.rstrip("/")
        except ValueError as error:
            raise NoAnswer(f"{url} is no URL: {error}", final=True) from None

    def models(self) -> list[str]:
        """Names under which models are served."""
        body = self._whole(self.dialect.models, None, ANSWER_SECONDS)
        return [model.id for model in _typed(_Models, body, "list of models").data]

    def metrics(self, seconds: float = ANSWER_SECONDS) -> Metrics:
        """The engine's metrics."""
        body = self._whole(self.dialect.metrics, None, seconds)
        return Metrics.parse(body.decode(errors="replace"), self.dialect)

    def tokenize(self, text: str, seconds: float = ANSWER_SECONDS) -> int:
        """How many tokens the model makes of a text."""
        if self.dialect.tokenize is None:
            raise NoAnswer("this engine does not count tokens", final=True)
        body = self._whole(self.dialect.tokenize, {"model": self.model, "prompt": text}, seconds)
        return _typed(_Tokens, body, "count of tokens", most=LONGEST_ANSWER).count

    def completion(self, prompt: str, tokens: int, seconds: float) -> Completion:
        """One chat completion of at most so many tokens, streamed as clients want it; at least one token came."""
        body = {
            "model": self.model, "messages": [{"role": "user", "content": prompt}], "max_tokens": tokens,
            "temperature": 0, "stream": True, "stream_options": {"include_usage": True},
        }  # fmt: skip
        started = time.monotonic()
        with self._asked(self.dialect.completions, body, seconds, LONGEST_STREAM) as answer:
            return _streamed(answer, started)

    def _whole(self, path: str, body: Mapping[str, Any] | None, seconds: float) -> bytes:
        """All of an answer; read in parts, as its head may promise any length."""
        with self._asked(path, body, seconds, LONGEST_ANSWER) as answer:
            parts = []
            while part := answer.read(PART):
                parts.append(part)
            if answer.length:
                raise NoAnswer(f"its answer ended {answer.length} bytes early")
            return b"".join(parts)

    @contextlib.contextmanager
    def _asked(
        self, path: str, body: Mapping[str, Any] | None, seconds: float, longest: int
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer to a question, while it comes; whatever is wrong with it is NoAnswer."""
        connection = Connection(self.host, self.port, self.source, seconds, longest)
        try:
            if body is None:
                connection.request("GET", self.base + path)
            else:
                words = json.dumps(body).encode()
                connection.request("POST", self.base + path, words, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            if answer.status != http.HTTPStatus.OK:
                raise NoAnswer(f"HTTP {answer.status}: {_quote(answer)}", final=answer.status in FINAL)
            yield answer
        except TimeoutError:
            raise NoAnswer(f"no whole answer within {seconds:g} s") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NoAnswer(str(error) or type(error).__name__) from None
        finally:
            connection.close()


# What engines answer, as far as it is looked at.


@dataclass(frozen=True, slots=True)
class _Model:
    id: Annotated[str, Free(1000)]


@dataclass(frozen=True, slots=True)
class _Models:
    data: Annotated[tuple[_Model, ...], AtMost(1000)]


@dataclass(frozen=True, slots=True)
class _Tokens:
    count: Annotated[int, Between(0, 10**9)]


@dataclass(frozen=True, slots=True)
class _Delta:
    reasoning: str | None = None
    reasoning_content: str | None = None
    content: str | None = None

    def text(self) -> str:
        return (self.reasoning or self.reasoning_content or "") + (self.content or "")


@dataclass(frozen=True, slots=True)
class _Choice:
    delta: _Delta


@dataclass(frozen=True, slots=True)
class _Usage:
    completion_tokens: Annotated[int, Between(0, 10**9)]


@dataclass(frozen=True, slots=True)
class _Chunk:
    choices: tuple[_Choice, ...]
    usage: _Usage | None = None


def _typed(kind: type[T], body: bytes, what: str, most: int = MOST_VALUES) -> T:
    """An answer as its type; what an engine adds to it is left alone."""
    try:
        return read(kind, parse(body, LONGEST_ANSWER, most), newer=True)
    except Refused as refused:
        raise NoAnswer(f"the answer is no {what}: {refused}") from None


def _quote(answer: http.client.HTTPResponse) -> str:
    """How a refusal begins, as far as it comes."""
    try:
        return answer.read(LONGEST_QUOTE).decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return ""


def _streamed(answer: http.client.HTTPResponse, started: float) -> Completion:
    """A stream of chunks that came to its end, with a token in it."""
    texts: list[str] = []
    first: float | None = None
    generated: int | None = None
    last = b""
    for raw in answer:
        line = raw.strip()
        if not line:
            continue
        if line == b"data: [DONE]":
            break
        last = line
        try:
            chunk = read(_Chunk, parse(line.removeprefix(b"data:"), LONGEST_CHUNK), newer=True)
        except Refused:
            raise NoAnswer(f"the answer is no chat completion: {_shown(line)}") from None
        for choice in chunk.choices:
            if text := choice.delta.text():
                first = _since(started) if first is None else first
                texts.append(text)
        if chunk.usage:
            generated = chunk.usage.completion_tokens
    else:
        raise NoAnswer(f"the answer is no chat completion, or did not end: {_shown(last)}")
    if generated is None:
        raise NoAnswer(f"the answer is no chat completion, as it counts no tokens: {_shown(last)}")
    if generated < 1:
        raise NoAnswer(f"the answer holds no token: {_shown(last)}")
    return Completion("".join(texts), generated, first, _since(started))


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)


def _shown(line: bytes) -> str:
    return line[:LONGEST_QUOTE].decode(errors="replace")


def _figures(text: str, *names: str) -> list[str]:
    """Figures of series, whatever their labels, as they are written."""
    either = "|".join(map(re.escape, names))
    return re.findall(rf"^(?:{either})(?:\{{[^}}\n]*\}})? (\S+)$", text, re.MULTILINE)


def _sum(figures: list[str]) -> float | None:
    """Figures as one; None where one of them is no number."""
    try:
        total = sum(float(figure) for figure in figures)
    except ValueError:
        return None
    return total if math.isfinite(total) else None

"""Asks the served model for a completion, because neither a port nor /health nor a running container means ready.

    gx10-host completion --url URL --model NAME [--wait SECONDS] [--prompt TEXT] [--tokens N] [--metrics] [--past-door]

Prints one JSON object: {"text", "tokens", "first", "seconds"}, and with --metrics what the engine says of its cache.
Without --wait it asks once; with it, it gives up early only on an answer that no waiting changes, such as an unknown
model.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import re
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

ONE_ANSWER_SECONDS = 120
FINAL = (400, 401, 403, 404, 405, 422)
"""Statuses that say the request itself is wrong for what is served there."""
# The engine is this host's own: a proxy that the environment names must not be asked for it.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
OWN_ADDRESS = "127.0.0.2"
"""The door in front of the API lets this address in while it is closed to everybody else (see gang/door.py)."""


class PastDoor(urllib.request.HTTPHandler):
    """Connects from the address that the door lets in."""

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        def connection(host: str, **options: Any) -> http.client.HTTPConnection:
            return http.client.HTTPConnection(host, source_address=(OWN_ADDRESS, 0), **options)

        return self.do_open(connection, req)


class Refused(Exception):
    """An answer that stays the same however long one waits."""


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Bound everything inside, also an answer that trickles; a socket's own timeout bounds only each of its reads."""

    def late(*_: object) -> None:
        raise TimeoutError(f"no whole answer within {seconds:.0f} s")

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def ask(url: str, model: str, prompt: str, tokens: int) -> dict[str, Any]:
    """One chat completion, streamed as clients want it; raises when no token came, or the stream did not end."""
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": tokens, "temperature": 0}
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    started = time.monotonic()
    try:
        with DIRECT.open(request, timeout=ONE_ANSWER_SECONDS) as response:
            first, text, generated, lines = streamed(response, started)
    except urllib.error.HTTPError as error:
        reason = f"HTTP {error.code}: {error.read(300).decode(errors='replace')}"
        raise (Refused(reason) if error.code in FINAL else ValueError(reason)) from None
    if generated < 1:
        raise ValueError(f"the answer holds no token: {lines[-1][:300]}")
    return {"text": text, "tokens": generated, "first": first, "seconds": round(time.monotonic() - started, 3)}


def streamed(response: Iterable[bytes], started: float) -> tuple[float | None, str, int, list[str]]:
    """Seconds to the first token, text, number of tokens and lines of a stream that came to its end."""
    first: float | None = None
    generated: int | None = None
    text, lines, ended = "", list[str](), False
    for raw in response:
        line = raw.decode(errors="replace").strip()
        if not line:
            continue
        lines.append(line)
        if line == "data: [DONE]":
            ended = True
            break
        try:
            chunk = json.loads(line.removeprefix("data:"))
            for choice in chunk["choices"]:
                delta = choice["delta"]
                part = (delta.get("reasoning") or delta.get("reasoning_content") or "") + (delta.get("content") or "")
                if part and first is None:
                    first = round(time.monotonic() - started, 3)
                text += part
            if chunk.get("usage"):
                generated = int(chunk["usage"]["completion_tokens"])
        except (ValueError, LookupError, TypeError, AttributeError):
            raise ValueError(f"the answer is no chat completion: {line[:300]}") from None
    if not ended or generated is None:
        raise ValueError(f"the answer is no chat completion, or did not end: {' '.join(lines[-2:])[:300]}")
    return first, text, generated, lines


def cache_config(url: str) -> dict[str, str]:
    """Labels of the engine's metric vllm:cache_config_info: the configuration it really runs with."""
    with DIRECT.open(f"{url}/metrics", timeout=10) as response:
        text = response.read().decode(errors="replace")
    found = re.search(r"^vllm:cache_config_info\{(.*)\} ", text, re.MULTILINE)
    return dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', found[1])) if found else {}


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--wait", type=float, default=0)
    parser.add_argument("--prompt", default="Say hello.")
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--metrics", action="store_true")
    parser.add_argument("--past-door", action="store_true")
    arguments = parser.parse_args(argv)
    if arguments.past_door:
        global DIRECT  # noqa: PLW0603 - chosen once, before anything is asked
        DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}), PastDoor())
    until = time.monotonic() + arguments.wait
    while True:
        left = until - time.monotonic() if arguments.wait else ONE_ANSWER_SECONDS
        try:
            with within(max(1, min(ONE_ANSWER_SECONDS, left))):
                told = ask(arguments.url, arguments.model, arguments.prompt, arguments.tokens)
                if arguments.metrics:
                    told["cache_config"] = cache_config(arguments.url)
            print(json.dumps(told), flush=True)
            return 0
        except (Refused, OSError, ValueError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            final = isinstance(error, Refused)
        if final or time.monotonic() >= until:
            sys.exit(f"completion: {arguments.model} at {arguments.url} did not answer: {reason}")
        time.sleep(max(0, min(0.5, until - time.monotonic())))

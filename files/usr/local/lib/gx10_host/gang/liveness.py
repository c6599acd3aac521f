"""Whether the engine lives: its counters move, or a small completion is answered in time.

/health says 200 and the counters say that nothing runs while a rank hangs in the first step of a request (measured), so
neither is asked. Whatever moves the engine's own counters is a sign of life, the chunks of a long prefill as well: the
share of the cache in use grows with each of them. Only where nothing moved for a while is a completion of one token
asked for; it is missed when it fails, or is late while still nothing moves. So many misses in a row are a wedge.
"""

from __future__ import annotations

import http.client
import json
import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from .door import OWN_ADDRESS

MOVING = re.compile(
    r"^vllm:(?:iteration_tokens_total_(?:sum|count)|generation_tokens_total|prompt_tokens_total|kv_cache_usage_perc"
    r"|num_requests_running|num_requests_waiting|num_preemptions_total)(?:\{[^}]*\})? (\S+)$",
    re.MULTILINE,
)
IN_FLIGHT = re.compile(r"^vllm:num_requests_(?:running|waiting)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
METRICS_SECONDS = 5
LONGEST = 8 * 1024 * 1024
"""No answer of the API is read further."""
AGAIN_SECONDS = 5


class Api:
    """The engine's API on this host, asked past the door."""

    def __init__(self, port: int, model: str) -> None:
        self.port, self.model = port, model

    def connection(self, seconds: float) -> http.client.HTTPConnection:
        """A connection that no proxy of the environment sees."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds, source_address=(OWN_ADDRESS, 0))

    def metrics(self) -> str | None:
        """The counters as text; None where the API does not answer."""
        connection = self.connection(METRICS_SECONDS)
        try:
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            text = answer.read(LONGEST).decode(errors="replace")
            return text if answer.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def completion(self, seconds: float) -> str:
        """Ask for one token; says why none came, or nothing."""
        body = {"model": self.model, "messages": [{"role": "user", "content": "."}], "max_tokens": 1}
        connection = self.connection(seconds)
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read(LONGEST)
            if answer.status != 200:
                return f"HTTP {answer.status}"
            return "" if json.loads(text)["usage"]["completion_tokens"] >= 1 else "no token in the answer"
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as error:
            return str(error) or type(error).__name__
        finally:
            connection.close()


class Liveness:
    """What is known of the engine's life; `look` is called about once a second."""

    def __init__(
        self,
        api: Any,
        settings: Mapping[str, Any],
        clock: Callable[[], float] = time.monotonic,
        threads: bool = True,
    ) -> None:
        self.api, self.settings, self.clock, self.threads = api, settings, clock, threads
        self.begin()

    def begin(self) -> None:
        """Forget an earlier life."""
        now = self.clock()
        self.seen: tuple[str, ...] | None = None
        self.in_flight: float | None = None
        self.asked_at = 0.0
        self.moved_at = self.answered_at = self.missed_at = now
        self.misses, self.reason = 0, ""
        self.canary: dict[str, str] | None = None
        self.late_after: float = self.settings["deadline_seconds"]

    @property
    def wedged(self) -> str:
        """Why the engine counts as dead, or nothing."""
        if self.misses < self.settings["misses"]:
            return ""
        still = self.clock() - self.moved_at
        return f"the engine's counters stand still for {still:.0f} s, {self.misses} completions missed: {self.reason}"

    def alive_since(self, moment: float) -> bool:
        """Whether tokens were seen to move after a moment."""
        return self.moved_at > moment

    def look(self) -> None:
        """Read the counters and judge."""
        text = self.api.metrics()
        now = self.clock()
        if text is not None:
            moving = tuple(MOVING.findall(text))
            self.in_flight = _sum(IN_FLIGHT.findall(text))
            self.answered_at = now
            if moving != self.seen:
                if self.seen is not None:
                    self.moved_at, self.misses = now, 0
                self.seen = moving
        self._judge(now)

    def urge(self, seconds: float) -> None:
        """Ask for a completion now, which must come within so many seconds."""
        if self.canary is None:
            self._ask(self.clock(), seconds)

    def _judge(self, now: float) -> None:
        if self.canary is not None:
            if "reason" in self.canary:
                reason, self.canary = self.canary["reason"], None
                if reason:
                    self._miss(now, reason)
                else:
                    self.moved_at, self.misses = now, 0
            elif now - self.asked_at > self.late_after:
                self.canary = None
                if self.moved_at <= self.asked_at:
                    self._miss(now, f"no answer within {self.late_after:g} s")
            return
        quiet = now - max(self.moved_at, self.missed_at if self.misses else self.moved_at)
        if quiet > (AGAIN_SECONDS if self.misses else self.settings["canary_seconds"]):
            self._ask(now, self.settings["deadline_seconds"])

    def _miss(self, now: float, reason: str) -> None:
        self.misses, self.missed_at, self.reason = self.misses + 1, now, reason

    def _ask(self, now: float, seconds: float) -> None:
        canary: dict[str, str] = {}
        self.canary = canary
        self.asked_at, self.late_after = now, seconds

        def ask() -> None:
            canary["reason"] = self.api.completion(seconds + 5)

        if self.threads:
            threading.Thread(target=ask, daemon=True).start()
        else:
            ask()


def _sum(figures: list[str]) -> float | None:
    """Figures as one; None where one of them is no number, which must not keep the engine from being watched."""
    try:
        total = sum(float(figure) for figure in figures)
    except ValueError:
        return None
    return total if math.isfinite(total) else None

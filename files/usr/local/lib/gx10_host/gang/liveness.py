"""Whether the engine lives: its counters move, or a small completion is answered in time.

/health says 200 and the counters say that nothing runs while a rank hangs in the first step of a request (measured), so
neither is asked. Whatever moves the engine's own counters is a sign of life, the chunks of a long prefill as well: the
share of the cache in use grows with each of them. Only where nothing moved for a while is a completion of one token
asked for; it is missed when it fails, or is late while still nothing moves. So many misses in a row are a wedge.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gx10_host.engine.api import Metrics, NoAnswer

AGAIN_SECONDS = 5


class Asked(Protocol):
    """What is asked of the engine's API: both answer, or raise NoAnswer."""

    def metrics(self) -> Metrics:
        """The engine's metrics."""

    def completion(self, prompt: str, tokens: int, seconds: float, /) -> object:
        """A completion within so many seconds."""


class Liveness:
    """What is known of the engine's life; `look` is called about once a second."""

    def __init__(
        self,
        api: Asked,
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
        try:
            metrics = self.api.metrics()
        except NoAnswer:
            self._judge(self.clock())
            return
        now = self.clock()
        self.in_flight, self.answered_at = metrics.in_flight, now
        if metrics.moving != self.seen:
            if self.seen is not None:
                self.moved_at, self.misses = now, 0
            self.seen = metrics.moving
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
            try:
                self.api.completion(".", 1, seconds + 5)
                canary["reason"] = ""
            except NoAnswer as refusal:
                canary["reason"] = str(refusal)

        if self.threads:
            threading.Thread(target=ask, daemon=True).start()
        else:
            ask()

"""Steps of a supervisor that must not end it: what fails is told once and counted, and the next step comes as ever.

A supervisor that ended because of one surprise would supervise nothing. What fails by the fault of its own programs is
not hidden either: it stands in the journal once for each kind, and in the host's report until a day after the last.
"""

from __future__ import annotations

import pathlib
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from gx10_host.checked import clean
from gx10_host.wire import LONGEST_SENTENCE, MOST_FAULTS, Fault

REMEMBERED_SECONDS = 86400


@dataclass(slots=True)
class Failure:
    """A kind of failure: how often it came, the last time, and in which words."""

    error: str
    last: float
    times: int = 0


class Guard:
    """Runs steps, and knows which of them failed."""

    def __init__(self, tell: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> None:
        self.tell, self.clock = tell, clock
        self.lock = threading.Lock()
        self.failures: dict[tuple[str, str], Failure] = {}
        """By step and place in the program: the words of one kind differ from time to time."""

    def run(self, step: str, work: Callable[[], object]) -> bool:
        """Do a step; whether it came to its end."""
        try:
            work()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - see above; a thread that exits is gone as well
            self.count(step, error)
            return False
        return True

    def count(self, step: str, error: BaseException) -> None:
        """Count a failure of a step, and tell of it if it is the first of its kind."""
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{pathlib.Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "an unknown place"
        last_line = clean(traceback.format_exception_only(error)[-1].strip(), LONGEST_SENTENCE - len(place) - 4)
        with self.lock:
            now, kind = self.clock(), (step, f"{type(error).__name__} {place}")
            self._forget(now)
            new = kind not in self.failures
            if new and len(self.failures) >= MOST_FAULTS:
                del self.failures[min(self.failures, key=lambda known: self.failures[known].last)]
            failure = self.failures.setdefault(kind, Failure("", now))
            failure.error, failure.last, failure.times = f"{last_line} at {place}", now, failure.times + 1
        if new:
            self.tell(f"gang: {step} failed: {failure.error}; it goes on, and is counted from now")

    def faults(self) -> tuple[Fault, ...]:
        """What failed within the last day."""
        with self.lock:
            now = self.clock()
            self._forget(now)
            return tuple(
                Fault(step=step, error=failure.error, times=failure.times, last_seconds=round(now - failure.last))
                for (step, _), failure in self.failures.items()
            )

    def _forget(self, now: float) -> None:
        for kind, failure in list(self.failures.items()):
            if now - failure.last > REMEMBERED_SECONDS:
                del self.failures[kind]

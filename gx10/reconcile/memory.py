"""What a reconciler remembers from night to night: what keeps coming back, and what could not be put back."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path

from gx10_host.write.whole import write_whole


@dataclass(frozen=True)
class Seen:
    """The past of one difference."""

    nights: int = 0
    """On how many nights in a row it was put back."""
    last: str = ""
    """The last of these nights, as a date."""
    flapping: bool = False
    """Whether it came back too often. It is left alone for as long as it is found."""
    failures: int = 0
    """How often in a row it could not be put back."""
    resumes: str = ""
    """The night from which it is tried again; before it, it is left alone."""


@dataclass
class Memory:
    """Everything remembered, by the name of what differs."""

    seen: dict[str, Seen] = field(default_factory=dict)
    sampled: int = 0
    """Counts the nights on which content was hashed, which says whose turn it is."""

    @classmethod
    def read(cls, path: Path) -> Memory:
        """What was remembered; nothing where the file is absent or damaged, which costs a few repairs too many."""
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            return cls({key: Seen(**one) for key, one in told["seen"].items()}, int(told["sampled"]))
        except (OSError, ValueError, TypeError, LookupError, AttributeError):
            return cls()

    def write(self, path: Path) -> None:
        """Remember; whole or not at all."""
        write_whole(path, json.dumps(asdict(self), indent=1, sort_keys=True).encode())

    def flaps(self, key: str, nights: int, tonight: date) -> int:
        """On how many nights in a row this difference, found again tonight, has come; 0 while that is few enough.

        A difference that waits for a window is found every night and put back on none: it does not count.
        """
        past = self._past(key, tonight)
        came = past.nights + (0 if past.last == tonight.isoformat() else 1)
        return came if past.flapping or came >= nights else 0

    def rests(self, key: str, tonight: date) -> str:
        """The night from which this difference is tried again; nothing when it may be tried tonight."""
        resumes = self.seen.get(key, Seen()).resumes
        return resumes if resumes and tonight < date.fromisoformat(resumes) else ""

    def note_found(self, found: Collection[str], flapping: Collection[str]) -> None:
        """Forget what was not found: it stayed as it was put. What flaps is left alone from now on."""
        self.seen = {key: past for key, past in self.seen.items() if key in found}
        for key in flapping:
            self.seen[key] = replace(self.seen.get(key, Seen()), flapping=True)

    def note_tried(self, key: str, put_back: bool, attempts: int, tonight: date) -> None:
        """Count a night, or a failure to put something back.

        After some failures in a row it rests for 1, 2, 4 … nights, a week at most. Success resets the count.
        """
        past = self._past(key, tonight)
        if put_back:
            again = 0 if past.last == tonight.isoformat() else 1
            self.seen[key] = Seen(past.nights + again, tonight.isoformat(), past.flapping)
            return
        failures = past.failures + 1
        rest = min(7, 2 ** (failures - attempts)) if failures >= attempts else 0
        resumes = (tonight + timedelta(days=rest + 1)).isoformat() if rest else ""
        self.seen[key] = replace(past, failures=failures, resumes=resumes)

    def _past(self, key: str, tonight: date) -> Seen:
        """What is remembered, with a count of nights that ends where a night is missing in between."""
        past = self.seen.get(key, Seen())
        unbroken = past.last in (tonight.isoformat(), (tonight - timedelta(days=1)).isoformat())
        return past if unbroken or past.flapping else replace(past, nights=0)

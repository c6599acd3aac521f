"""Whose orders a host obeys: those of the head that its own configuration names, from that head's fabric address.

A head that was replaced while it was off knows nothing of that when it comes back: what it orders changes nothing. It
is counted here, so that the head in office can name who gives orders, and answered with whom this host obeys, so that
its sender learns that it is head no more. What is no order at all is counted beside it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gx10_host.checked import clean
from gx10_host.wire import LONGEST_SENTENCE, MOST_SENDERS, Foreign, Malformed, Order, Sworn

REMEMBERED_SECONDS = 86400
T = TypeVar("T")


@dataclass(slots=True)
class Sender(Generic[T]):
    """What came from an address: the last of it, how often, and when the first and the last came."""

    latest: T
    first: float
    last: float
    times: int = 0


class Senders(Generic[T]):
    """Senders by address, no more than MOST_SENDERS: beyond that the one unheard for longest is forgotten."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.lock = threading.Lock()
        self.by_address: dict[str, Sender[T]] = {}

    def count(self, address: str, latest: T) -> bool:
        """Count once; whether that is news: an address that was not heard for a day, and not one of very many."""
        with self.lock:
            now = self.clock()
            self._forget(now)
            new, crowded = address not in self.by_address, len(self.by_address) >= MOST_SENDERS
            if new and crowded:
                del self.by_address[min(self.by_address, key=lambda known: self.by_address[known].last)]
            sender = self.by_address.setdefault(address, Sender(latest, now, now))
            sender.latest, sender.last, sender.times = latest, now, sender.times + 1
            return new and not crowded

    def heard(self) -> list[tuple[str, Sender[T]]]:
        """Every sender of the last day."""
        with self.lock:
            self._forget(self.clock())
            return list(self.by_address.items())

    def _forget(self, now: float) -> None:
        for address, sender in list(self.by_address.items()):
            if now - sender.last > REMEMBERED_SECONDS:
                del self.by_address[address]


class Nonsense:
    """Messages that were none: counted by sender, told once, and otherwise as if they had never come."""

    def __init__(self, what: str, clock: Callable[[], float], tell: Callable[[str], object]) -> None:
        self.what, self.clock, self.tell = what, clock, tell
        self.senders: Senders[str] = Senders(clock)

    def count(self, address: str, reason: str) -> None:
        """Count a message that was none, and why."""
        reason = clean(reason, LONGEST_SENTENCE)
        if self.senders.count(address, reason):
            self.tell(f"gang: what {address} sends is no {self.what}: {reason}. It is counted and changes nothing")

    def heard(self) -> tuple[Malformed, ...]:
        """Who sent what was none."""
        now = self.clock()
        return tuple(
            Malformed(
                address=address, messages=sender.times, reason=sender.latest,
                first_seconds=round(now - sender.first), last_seconds=round(now - sender.last),
            )
            for address, sender in self.senders.heard()
        )  # fmt: skip


class Allegiance:
    """Which head this host obeys, and who else gave it orders."""

    def __init__(
        self,
        config: Mapping[str, Any],
        clock: Callable[[], float] = time.monotonic,
        tell: Callable[[str], object] = print,
    ) -> None:
        self.sworn = Sworn(cluster=config["cluster"], head=config["head"], address=config["hosts"][config["head"]])
        self.clock, self.tell = clock, tell
        self.senders: Senders[Order] = Senders(clock)

    def owed(self, order: Order, address: str) -> bool:
        """Whether an order that came from an address is the head's; another is counted."""
        if Sworn(cluster=order.cluster, head=order.head, address=address) == self.sworn:
            return True
        if self.senders.count(address, order):
            self.tell(
                f"gang: orders of {order.head} ({address}, cluster {order.cluster}) are refused: this host obeys "
                f"{self.sworn.head} ({self.sworn.address}, cluster {self.sworn.cluster}) alone"
            )
        return False

    def foreign(self) -> tuple[Foreign, ...]:
        """Senders of orders that were refused: who, from where, how many, and how long ago the first and the last."""
        now = self.clock()
        return tuple(
            Foreign(
                head=sender.latest.head, cluster=sender.latest.cluster, address=address, orders=sender.times,
                first_seconds=round(now - sender.first), last_seconds=round(now - sender.last),
            )
            for address, sender in self.senders.heard()
        )  # fmt: skip

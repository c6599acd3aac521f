"""Orders on the wire, and whose of them a host obeys: those of the head that its own configuration names.

An order names its sender and its cluster, and comes from the head's fabric address. A head that was replaced while it
was off knows nothing of that when it comes back: what it orders changes nothing. It is counted here, so that the head
in office can name who gives orders, and answered with whom this host obeys, so that its sender learns that it is head
no more.
"""

from __future__ import annotations

import ipaddress
import json
import re
import threading
import time

LONGEST_ORDER = 64 * 1024
LONGEST_ANSWER = 1024 * 1024
SENDERS = 8
"""Foreign senders that are remembered, by address; beyond that the one unheard for longest is forgotten."""
REMEMBERED_SECONDS = 86400
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
LIFE = re.compile(r"[A-Za-z0-9.]{1,100}")
PARTS = ("ray", "engine")


def read_order(body):
    """An order as it came over the network; raises ValueError for anything that is none."""
    try:
        order = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("no JSON") from None
    if not isinstance(order, dict):
        raise ValueError("no object")  # noqa: TRY004 - all that is no order is one error
    for key in ("cluster", "head"):
        if not is_name(order.get(key)):
            raise ValueError(f"{key} is no name")
    if order.get("want") not in ("run", "stop") or not _is_text(order.get("key"), 120):
        raise ValueError("neither run nor stop")
    if order["want"] == "run":
        parts = order.get("parts")
        if not isinstance(parts, list) or any(part not in PARTS for part in parts):
            raise ValueError("parts are none of the gang's")
        if not isinstance(order.get("life"), str) or not LIFE.fullmatch(order["life"]):
            raise ValueError("no life")
    for key, kind in (("start", bool), ("fault", bool), ("fallback", int), ("kill_after", (int, float))):
        if key in order and not isinstance(order[key], kind):
            raise ValueError(f"{key} is no {kind}")
    for key in ("keep", "restore"):
        if key in order and not (isinstance(order[key], str) and LIFE.fullmatch(order[key])):
            raise ValueError(f"{key} is no generation")
    return order


def read_sworn(answer):
    """Whom a host that refuses says it obeys, as {cluster, head, address}; raises ValueError where it does not say."""
    obeys = answer.get("obeys") if isinstance(answer, dict) else None
    if not isinstance(obeys, dict) or not (is_name(obeys.get("cluster")) and is_name(obeys.get("head"))):
        raise ValueError("a refusal without a head")
    address = str(ipaddress.ip_address(str(obeys.get("address"))))
    return {"cluster": obeys["cluster"], "head": obeys["head"], "address": address}


def is_name(text):
    """Whether a text can be the name of a host or a cluster, and be shown on a terminal."""
    return isinstance(text, str) and NAME.fullmatch(text) is not None


def _is_text(text, longest):
    return isinstance(text, str) and len(text) <= longest and text.isprintable()


class Allegiance:
    """Which head this host obeys, and who else gave it orders."""

    def __init__(self, config, clock=time.monotonic, tell=print):
        self.sworn = {
            "cluster": config["cluster"], "head": config["head"], "address": config["hosts"][config["head"]],
        }  # fmt: skip
        self.clock, self.tell = clock, tell
        self.lock = threading.Lock()
        self.senders = {}

    def owed(self, order, address):
        """Whether an order that came from an address is the head's; another is counted."""
        if {"cluster": order["cluster"], "head": order["head"], "address": address} == self.sworn:
            return True
        with self.lock:
            self._count(order, address)
        return False

    def foreign(self):
        """Senders of orders that were refused: who, from where, how many, and how long ago the first and the last."""
        with self.lock:
            now = self.clock()
            self._forget(now)
            return [
                {
                    "head": sender["head"], "cluster": sender["cluster"], "address": address,
                    "orders": sender["orders"], "first_seconds": round(now - sender["first"]),
                    "last_seconds": round(now - sender["last"]),
                }
                for address, sender in self.senders.items()
            ]  # fmt: skip

    def _count(self, order, address):
        now = self.clock()
        self._forget(now)
        if address not in self.senders:
            if len(self.senders) >= SENDERS:
                del self.senders[min(self.senders, key=lambda known: self.senders[known]["last"])]
            self.senders[address] = {"first": now, "orders": 0}
            self.tell(
                f"gang: orders of {order['head']} ({address}, cluster {order['cluster']}) are refused: this host obeys "
                f"{self.sworn['head']} ({self.sworn['address']}, cluster {self.sworn['cluster']}) alone"
            )
        sender = self.senders[address]
        sender.update(head=order["head"], cluster=order["cluster"], last=now, orders=sender["orders"] + 1)

    def _forget(self, now):
        for address, sender in list(self.senders.items()):
            if now - sender["last"] > REMEMBERED_SECONDS:
                del self.senders[address]

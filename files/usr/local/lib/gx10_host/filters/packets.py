"""The first packets of connections, and their way through chains of rules as the kernel would lead them.

What cannot be known of a packet, such as a rate or a set of another program, never counts as a stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

Answer = bool | None
"""Whether something holds; None where it is unknown."""
Packet = dict[str, Any]
Condition = Callable[[Packet], Answer]
Verdict = Callable[[Packet], tuple[str, str | None]]
DEEPEST = 16
IN, OUT = ("ingress", "prerouting", "input"), ("output", "postrouting", "egress")
STOPS = {"drop": "drops", "reject": "rejects", "redirect": "redirects", "dnat": "redirects", "tproxy": "redirects"}


@dataclass(frozen=True)
class Rule:
    """A rule of a chain: what it asks of a packet, and what it does with one for which all of it holds."""

    conditions: list[Condition]
    verdict: str | Verdict | None
    target: str | None
    text: object
    """As the filter's own program writes it, or the handle by which that program finds it."""
    ported: bool
    """Whether it names a port."""


@dataclass(frozen=True)
class Chain:
    """Rules in their order; a base chain has the hook where packets enter it, and what becomes of those that pass."""

    name: str
    hook: str | None
    policy: str | None
    device: str | None = None
    rules: list[Rule] = field(default_factory=list)


Chains = dict[str, Chain]
Ended = tuple[str, Rule | None, Chain]
"""What ended a packet's way: the verdict, the rule or None for a chain's policy, and the chain."""


def both(answers: Iterable[Answer]) -> Answer:
    """Three-valued and: False, None where it is unknown, or True."""
    answers = list(answers)
    return False if False in answers else None if None in answers else True


def negated(answer: Answer) -> Answer:
    return answer if answer is None else not answer


def walk(chains: Chains, name: str, packet: Packet, way: tuple[bool, bool, int] = (False, False, 0)) -> Ended | None:
    """What ends a packet's way through a chain as (verdict, rule, chain), or None where it falls through."""
    maybe, named, depth = way
    for rule in chains[name].rules if name in chains and depth < DEEPEST else ():
        held = both(condition(packet) for condition in rule.conditions)
        if rule.verdict is None or held is False:
            continue
        unsure, about = maybe or held is None, named or rule.ported
        verdict, target = rule.verdict(packet) if callable(rule.verdict) else (rule.verdict, rule.target)
        if verdict in ("jump", "goto"):
            ended = walk(chains, target or "", packet, (unsure, about, depth + 1))
            if ended or (verdict == "goto" and not unsure):
                return ended
        elif verdict == "return" and not unsure:
            return None
        elif verdict == "accept" or (verdict in STOPS and not unsure and (packet["family"] == "ip" or about)):
            return verdict, rule, chains[name]
    return None


def stops(chains: Chains, packets: Iterable[Packet]) -> Iterator[tuple[Ended, Packet]]:
    """What stops packets in the base chains of one table: (verdict, rule or None for a policy, chain) and packet."""
    for name, chain in chains.items():
        for packet in packets:
            if chain.hook not in (IN if packet["direction"] == "in" else OUT):
                continue
            if chain.device not in (None, packet["interface"]):
                continue
            ended = walk(chains, name, packet)
            if ended is None and chain.policy == "drop" and packet["family"] == "ip":
                yield ("drop", None, chain), packet
            elif ended and ended[0] in STOPS:
                yield ended, packet


def packets_of(flow: dict[str, Any], numbers: Iterable[int]) -> Iterator[Packet]:
    """First packets that stand for a flow: every port that a rule or the flow names, of each source."""
    ports = set()
    for first, last in flow["ports"]:
        ports |= {first, last} | {number for number in numbers if first <= number <= last}
    for port in sorted(ports):
        packet = {"direction": flow["direction"], "interface": flow["interface"], "port": port}
        for source in flow["sources"]:
            for destination in flow["destinations"]:
                yield {**packet, "family": "ip", "source": source, "destination": destination}
        yield {**packet, "family": "ip6", "source": None, "destination": None}


def numbers_in(text: str) -> set[int]:
    """Numbers that can be ports, and their neighbours, in a text of rules."""
    words = "".join(letter if letter.isdigit() else " " for letter in text).split()
    found = {int(word) for word in words if len(word) <= 5}
    return {near for number in found for near in (number - 1, number, number + 1) if 0 < near < 65536}


def unknown(_: Packet) -> Answer:
    return None

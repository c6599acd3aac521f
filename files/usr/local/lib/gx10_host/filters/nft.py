"""Rules as `nft -j list ruleset` tells them."""

from __future__ import annotations

import ipaddress
import json
import shutil
from collections.abc import Callable
from typing import Any

from gx10_host.commands import output

from .iptables import saver
from .packets import STOPS, Answer, Chain, Chains, Condition, Packet, Rule, Verdict, both, negated, unknown

Sets = dict[str, list[Any]]
IPTABLES = {"filter", "nat", "mangle", "raw", "security"}
UNKNOWN = (False, None)


def of_packet(left: Any, packet: Packet) -> tuple[bool, Any]:
    """What a packet has of something that a rule looks at: (whether it is known, value)."""
    kind, asks = next(iter(left.items())) if isinstance(left, dict) else ("", {})
    looks: dict[str, Callable[[Any, Packet], tuple[bool, Any]]] = {
        "concat": of_parts,
        "meta": of_meta,
        "ct": of_connection,
        "payload": of_payload,
        "fib": of_route,
    }
    return looks[kind](asks, packet) if kind in looks else UNKNOWN


def of_parts(parts: list[Any], packet: Packet) -> tuple[bool, Any]:
    told = [of_packet(part, packet) for part in parts]
    return all(known for known, _ in told), [value for _, value in told]


def of_meta(asks: dict[str, Any], packet: Packet) -> tuple[bool, Any]:
    key = asks["key"]
    if key in ("iif", "iifname", "oif", "oifname"):
        return True, packet["interface"] if key.startswith("i" if packet["direction"] == "in" else "o") else ""
    v4 = packet["family"] == "ip"
    fixed = {"l4proto": "tcp", "nfproto": "ipv4" if v4 else "ipv6", "protocol": "ip" if v4 else "ip6"}
    return (True, fixed[key]) if key in fixed else UNKNOWN


def of_connection(asks: dict[str, Any], _: Packet) -> tuple[bool, Any]:
    fixed = {"state": "new", "direction": "original"}
    key = str(asks.get("key"))
    return (True, fixed[key]) if key in fixed else UNKNOWN


def of_payload(asks: dict[str, Any], packet: Packet) -> tuple[bool, Any]:
    field, protocol = asks.get("field"), asks.get("protocol")
    if protocol in ("udp", "icmp", "icmpv6", "sctp", "dccp", *({"ip", "ip6"} - {packet["family"]})):
        return True, None
    told = {
        "dport": (True, packet["port"]),
        "protocol": (True, "tcp"),
        "nexthdr": (True, "tcp"),
        "saddr": (packet["source"] is not None, packet["source"]),
        "daddr": (packet["destination"] is not None, packet["destination"]),
    }
    return told.get(str(field), UNKNOWN)


def of_route(asks: dict[str, Any], packet: Packet) -> tuple[bool, Any]:
    if asks.get("result") != "type" or asks.get("flags") != ["daddr"]:
        return UNKNOWN
    return True, "local" if packet["direction"] == "in" else "unicast"


def among(value: Any, right: Any, sets: Sets) -> Answer:
    """Whether a value is one that a rule names; None where that cannot be said."""
    if isinstance(right, str) and right.startswith("@"):
        return among(value, sets[right[1:]], sets) if right[1:] in sets else None
    if isinstance(right, list):
        answers = [among(value, one, sets) for one in right]
        return True if True in answers else None if None in answers else False
    if isinstance(right, dict):
        kind, inner = next(iter(right.items()))
        return among_many(kind, inner, value, sets)
    if isinstance(right, str) and right.endswith("*") and isinstance(value, str):
        return value.startswith(right[:-1])
    return bool(value == right)


def among_many(kind: str, inner: Any, value: Any, sets: Sets) -> Answer:
    """The same where a rule names several values at once: a set, a range, a prefix, parts."""
    if kind in ("set", "elem"):
        return among(value, inner if kind == "set" else inner["val"], sets)
    if kind == "concat" and isinstance(value, list):
        return both(among(one, other, sets) for one, other in zip(value, inner, strict=False))
    if kind not in ("range", "prefix") or value is None:
        return None if value is not None else False
    if kind == "prefix":
        return ipaddress.ip_address(value) in ipaddress.ip_network(f"{inner['addr']}/{inner['len']}", strict=False)
    low, high, value = (ipaddress.ip_address(one) if isinstance(one, str) else one for one in (*inner, value))
    return bool(low <= value <= high)


def nft_match(match: dict[str, Any], sets: Sets) -> Condition:
    def condition(packet: Packet) -> Answer:
        known, value = of_packet(match["left"], packet)
        if not known:
            return None
        found, sign = among(value, match["right"], sets), match.get("op", "==")
        if sign in ("==", "in"):
            return found
        if sign == "!=":
            return negated(found)
        if isinstance(value, int) and isinstance(match["right"], int):
            right = match["right"]
            return {"<": value < right, ">": value > right, "<=": value <= right, ">=": value >= right}.get(sign)
        return None

    return condition


def nft_vmap(vmap: dict[str, Any], sets: Sets) -> Verdict:
    def verdict(packet: Packet) -> tuple[str, str | None]:
        known, value = of_packet(vmap["key"], packet)
        entries = vmap["data"]
        entries = sets.get(entries[1:], []) if isinstance(entries, str) else entries.get("set", [])
        for key, does in entries if known else ():
            if among(value, key, sets):
                kind, told = next(iter(does.items()))
                return kind, (told or {}).get("target") if isinstance(told, dict) else None
        return "continue", None

    return verdict


def nft_rule(rule: dict[str, Any], sets: Sets) -> Rule:
    conditions: list[Condition] = []
    verdict: str | Verdict | None = None
    target: str | None = None
    for expression in rule["expr"]:
        kind, told = next(iter(expression.items()))
        if kind == "match":
            conditions.append(nft_match(told, sets))
        elif kind in ("limit", "quota", "xt", "meter", "connlimit", "ct count"):
            conditions.append(unknown)
        elif kind == "vmap":
            verdict = nft_vmap(told, sets)
        elif kind in ("jump", "goto"):
            verdict, target = kind, told["target"]
        elif kind in ("accept", "return", *STOPS):
            verdict = kind
        elif kind == "queue":
            verdict = "accept"
    return Rule(conditions, verdict, target, rule["handle"], '"dport"' in json.dumps(rule["expr"]))


def nft_tables(ruleset: list[dict[str, Any]]) -> tuple[dict[tuple[str, str], Chains], set[str]]:
    """Chains by table, and the tables of iptables, which say more of themselves elsewhere."""
    tables: dict[tuple[str, str], Chains] = {}
    sets: dict[tuple[str, str], Sets] = {}
    theirs: set[str] = set()
    for entry in ruleset:
        kind, told = next(iter(entry.items()))
        if kind == "metainfo":
            continue
        where = (told["family"], told["name"] if kind == "table" else told.get("table"))
        if kind == "table":
            tables[where] = {}
        elif kind in ("set", "map"):
            sets.setdefault(where, {})[told["name"]] = told.get("elem", [])
    for entry in ruleset:
        kind, told = next(iter(entry.items()))
        where = (told.get("family"), told.get("table"))
        if kind == "chain":
            chain = Chain(told["name"], told.get("hook"), told.get("policy"), told.get("dev"))
            tables[where][chain.name] = chain
        elif kind == "rule":
            tables[where][told["chain"]].rules.append(nft_rule(told, sets.get(where, {})))
    for family, name in list(tables):
        if family in ("ip", "ip6") and name in IPTABLES and shutil.which(saver(family, "nft")):
            theirs.add(family)
            del tables[family, name]
    return {where: chains for where, chains in tables.items() if where[0] not in ("arp", "bridge")}, theirs


def nft_text(family: str, table: str, chain: str, handle: object) -> str:
    """A rule as nft writes it."""
    for line in output("nft", "-a", "list", "chain", family, table, chain).splitlines():
        text, _, found = line.rpartition(" # handle ")
        if found.strip() == str(handle):
            return text.strip()
    return f"handle {handle}"

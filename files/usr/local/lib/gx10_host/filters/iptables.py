"""Rules as `iptables-save` writes them."""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Callable, Iterable

from .packets import Answer, Chain, Chains, Condition, Packet, Rule, negated, unknown


def saver(family: str, variant: str) -> str:
    return f"{'iptables' if family == 'ip' else 'ip6tables'}-{variant}-save"


def address_in(key: str) -> Callable[[str], Condition]:
    def made(text: str) -> Condition:
        networks = [ipaddress.ip_network(part, strict=False) for part in text.split(",")]

        def condition(packet: Packet) -> Answer:
            address = packet[key]
            return None if address is None else any(ipaddress.ip_address(address) in network for network in networks)

        return condition

    return made


def interface_is(direction: str) -> Callable[[str], Condition]:
    def made(name: str) -> Condition:
        def condition(packet: Packet) -> Answer:
            there: str = packet["interface"] if packet["direction"] == direction else ""
            return there.startswith(name[:-1]) if name.endswith("+") else there == name

        return condition

    return made


def among_ports(text: str) -> Condition:
    ranges = [(part.partition(":")[0] or "0", part.rpartition(":")[2] or "65535") for part in text.split(",")]
    return lambda packet: any(int(first) <= packet["port"] <= int(last) for first, last in ranges)


def local_or_not(text: str) -> Condition:
    return lambda packet: ("LOCAL" if packet["direction"] == "in" else "UNICAST") in text.split(",")


def always(answer: Answer) -> Condition:
    return lambda _: answer


def of_module(name: str) -> Condition:
    """What naming a module says by itself; most say more with their own options."""
    unsure = ("limit", "recent", "hashlimit", "set", "statistic", "connlimit", "time", "string", "mark")
    return unknown if name in unsure else always(name not in ("udp", "icmp", "icmp6", "sctp"))


OPTIONS: dict[str, Callable[[str], Condition]] = {
    "-m": of_module,
    "-p": lambda text: always(text in ("tcp", "all", "6")),
    "-s": address_in("source"),
    "-d": address_in("destination"),
    "-i": interface_is("in"),
    "-o": interface_is("out"),
    "--dport": among_ports,
    "--dports": among_ports,
    "--ports": among_ports,
    "--ctstate": lambda text: always("NEW" in text.split(",")),
    "--state": lambda text: always("NEW" in text.split(",")),
    "--dst-type": local_or_not,
    "--src-type": lambda text: always("UNICAST" in text.split(",")),
    "--comment": lambda _: always(True),
    "--tcp-flags": lambda _: always(True),
}
"""Options whose one value says something that is known of a packet. Of the flags only SYN matters, which follows."""
TARGETS = {
    "ACCEPT": "accept", "DROP": "drop", "REJECT": "reject", "RETURN": "return", "NFQUEUE": "accept", "QUEUE": "accept",
    "DNAT": "redirect", "REDIRECT": "redirect", "TPROXY": "redirect", "NETMAP": "redirect",
}  # fmt: skip


def iptables_rule(words: Iterable[str], text: str) -> Rule:
    """A rule of `iptables-save`, word by word; what follows the target is the target's own."""
    conditions, negate = list[Condition](), False
    words = iter(words)
    for word in words:
        if word in ("-j", "-g"):
            target = next(words)
            verdict = TARGETS.get(target) or ("jump" if word == "-j" else "goto")
            return Rule(conditions, verdict, target, text, "--dport" in text)
        if word == "!":
            negate = True
            continue
        if word in OPTIONS:
            conditions.append(agreeing(OPTIONS[word](next(words)), negate and word not in ("-m", "--tcp-flags")))
            if word == "--tcp-flags":
                conditions.append(agreeing(always(next(words) == "SYN"), negate))
        elif word.startswith("-"):
            conditions.append(unknown)
        negate = False
    return Rule(conditions, None, None, text, False)


def agreeing(condition: Condition, negate: bool) -> Condition:
    return (lambda packet: negated(condition(packet))) if negate else condition


def iptables_tables(saved: str) -> dict[str, Chains]:
    tables: dict[str, Chains] = {}
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
            tables[table] = {}
        elif line.startswith(":"):
            name, policy = line[1:].split()[:2]
            hook = name.lower() if name in ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING") else None
            tables[table][name] = Chain(name, hook, policy.lower())
        elif line.startswith("-A "):
            words = shlex.split(line)
            tables[table][words[1]].rules.append(iptables_rule(words[2:], line))
    return tables

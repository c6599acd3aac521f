"""Which rules of packet filters stop what the gang needs: argv[0] is JSON {"own": table, "flows": JSON}; prints JSON.

A flow is {"direction": "in" or "out", "interface", "sources": [address], "destinations": [address], "ports": [[first,
last]]}; an address that is null can be any. Each flow is led through the rules as the kernel would lead its first
packet. What cannot be known of a packet, such as a rate or a set of another program, never counts as a stop.

Sources: `nft -j list ruleset`, and `iptables-save` of the variants that hold tables.

In one file because it travels to hosts that have nothing of this package yet, as the text of one program.
"""

import ipaddress
import json
import pathlib
import shlex
import shutil
import subprocess
import sys

IPTABLES = {"filter", "nat", "mangle", "raw", "security"}
DEEPEST = 16
IN, OUT = ("ingress", "prerouting", "input"), ("output", "postrouting", "egress")
STOPS = {"drop": "drops", "reject": "rejects", "redirect": "redirects", "dnat": "redirects", "tproxy": "redirects"}


def output(*argv):
    """What a command prints; one that does not run or answer makes the rules unknown, which is an error."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        sys.exit(f"{argv[0]}: {error}")
    if done.returncode:
        sys.exit(f"{argv[0]}: {done.stderr.strip() or f'status {done.returncode}'}")
    return done.stdout


def both(answers):
    """Three-valued and: False, None where it is unknown, or True."""
    answers = list(answers)
    return False if False in answers else None if None in answers else True


def negated(answer):
    return answer if answer is None else not answer


# A rule is [conditions, verdict, target, text or handle, whether it names a port]; a condition asks a packet.
# A way is (whether the packet only may have come here, whether a rule that led here names a port, how deep it is).


def walk(chains, name, packet, way=(False, False, 0)):
    """What ends a packet's way through a chain as (verdict, rule, chain), or None where it falls through."""
    maybe, named, depth = way
    for rule in chains.get(name, {"rules": []})["rules"] if depth < DEEPEST else ():
        conditions, verdict, target, _, ported = rule
        held = both(condition(packet) for condition in conditions)
        if verdict is None or held is False:
            continue
        unsure, about = maybe or held is None, named or ported
        if callable(verdict):
            verdict, target = verdict(packet)
        if verdict in ("jump", "goto"):
            ended = walk(chains, target, packet, (unsure, about, depth + 1))
            if ended or (verdict == "goto" and not unsure):
                return ended
        elif verdict == "return" and not unsure:
            return None
        elif verdict == "accept" or (verdict in STOPS and not unsure and (packet["family"] == "ip" or about)):
            return verdict, rule, chains[name]
    return None


def stops(chains, packets):
    """What stops packets in the base chains of one table: (verdict, rule or None for a policy, chain) and packet."""
    for name, chain in chains.items():
        for packet in packets:
            if chain["hook"] not in (IN if packet["direction"] == "in" else OUT):
                continue
            if chain.get("device") not in (None, packet["interface"]):
                continue
            ended = walk(chains, name, packet)
            if ended is None and chain["policy"] == "drop" and packet["family"] == "ip":
                yield ("drop", None, chain), packet
            elif ended and ended[0] in STOPS:
                yield ended, packet


# nft


def of_packet(left, packet):
    """What a packet has of something that a rule looks at: (whether it is known, value)."""
    kind, asks = next(iter(left.items())) if isinstance(left, dict) else ("", {})
    looks = {"concat": of_parts, "meta": of_meta, "ct": of_connection, "payload": of_payload, "fib": of_route}
    return looks[kind](asks, packet) if kind in looks else UNKNOWN


UNKNOWN = (False, None)


def of_parts(parts, packet):
    told = [of_packet(part, packet) for part in parts]
    return all(known for known, _ in told), [value for _, value in told]


def of_meta(asks, packet):
    key = asks["key"]
    if key in ("iif", "iifname", "oif", "oifname"):
        return True, packet["interface"] if key.startswith("i" if packet["direction"] == "in" else "o") else ""
    v4 = packet["family"] == "ip"
    fixed = {"l4proto": "tcp", "nfproto": "ipv4" if v4 else "ipv6", "protocol": "ip" if v4 else "ip6"}
    return (True, fixed[key]) if key in fixed else UNKNOWN


def of_connection(asks, _):
    fixed = {"state": "new", "direction": "original"}
    return (True, fixed[asks.get("key")]) if asks.get("key") in fixed else UNKNOWN


def of_payload(asks, packet):
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
    return told.get(field, UNKNOWN)


def of_route(asks, packet):
    if asks.get("result") != "type" or asks.get("flags") != ["daddr"]:
        return UNKNOWN
    return True, "local" if packet["direction"] == "in" else "unicast"


def among(value, right, sets):
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
    return value == right


def among_many(kind, inner, value, sets):
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
    return low <= value <= high


def nft_match(match, sets):
    def condition(packet):
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


def nft_vmap(vmap, sets):
    def verdict(packet):
        known, value = of_packet(vmap["key"], packet)
        entries = vmap["data"]
        entries = sets.get(entries[1:], []) if isinstance(entries, str) else entries.get("set", [])
        for key, does in entries if known else ():
            if among(value, key, sets):
                kind, told = next(iter(does.items()))
                return kind, (told or {}).get("target") if isinstance(told, dict) else None
        return "continue", None

    return verdict


def unknown(_):
    return None


def nft_rule(rule, sets):
    conditions, verdict, target = [], None, None
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
    return [conditions, verdict, target, rule["handle"], '"dport"' in json.dumps(rule["expr"])]


def nft_tables(ruleset):
    """Chains by table, and the tables of iptables, which say more of themselves elsewhere."""
    tables, sets, theirs = {}, {}, set()
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
            chain = {"name": told["name"], "hook": told.get("hook"), "policy": told.get("policy"), "rules": []}
            tables[where][told["name"]] = {**chain, "device": told.get("dev")}
        elif kind == "rule":
            tables[where][told["chain"]]["rules"].append(nft_rule(told, sets.get(where, {})))
    for family, name in list(tables):
        if family in ("ip", "ip6") and name in IPTABLES and shutil.which(saver(family, "nft")):
            theirs.add(family)
            del tables[family, name]
    return {where: chains for where, chains in tables.items() if where[0] not in ("arp", "bridge")}, theirs


def nft_text(family, table, chain, handle):
    """A rule as nft writes it."""
    for line in output("nft", "-a", "list", "chain", family, table, chain).splitlines():
        text, _, found = line.rpartition(" # handle ")
        if found.strip() == str(handle):
            return text.strip()
    return f"handle {handle}"


# iptables


def saver(family, variant):
    return f"{'iptables' if family == 'ip' else 'ip6tables'}-{variant}-save"


def address_in(key):
    def made(text):
        networks = [ipaddress.ip_network(part, strict=False) for part in text.split(",")]

        def condition(packet):
            address = packet[key]
            return None if address is None else any(ipaddress.ip_address(address) in network for network in networks)

        return condition

    return made


def interface_is(direction):
    def made(name):
        def condition(packet):
            there = packet["interface"] if packet["direction"] == direction else ""
            return there.startswith(name[:-1]) if name.endswith("+") else there == name

        return condition

    return made


def among_ports(text):
    ranges = [(part.partition(":")[0] or "0", part.rpartition(":")[2] or "65535") for part in text.split(",")]
    return lambda packet: any(int(first) <= packet["port"] <= int(last) for first, last in ranges)


def local_or_not(text):
    return lambda packet: ("LOCAL" if packet["direction"] == "in" else "UNICAST") in text.split(",")


def always(answer):
    return lambda _: answer


def of_module(name):
    """What naming a module says by itself; most say more with their own options."""
    unsure = ("limit", "recent", "hashlimit", "set", "statistic", "connlimit", "time", "string", "mark")
    return unknown if name in unsure else always(name not in ("udp", "icmp", "icmp6", "sctp"))


OPTIONS = {
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


def iptables_rule(words, text):
    """A rule of `iptables-save`, word by word; what follows the target is the target's own."""
    conditions, negate = [], False
    words = iter(words)
    for word in words:
        if word in ("-j", "-g"):
            target = next(words)
            verdict = TARGETS.get(target) or ("jump" if word == "-j" else "goto")
            return [conditions, verdict, target, text, "--dport" in text]
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
    return [conditions, None, None, text, False]


def agreeing(condition, negate):
    return (lambda packet: negated(condition(packet))) if negate else condition


def iptables_tables(saved):
    tables, table = {}, ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
            tables[table] = {}
        elif line.startswith(":"):
            name, policy = line[1:].split()[:2]
            hook = name.lower() if name in ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING") else None
            tables[table][name] = {"name": name, "hook": hook, "policy": policy.lower(), "rules": []}
        elif line.startswith("-A "):
            words = shlex.split(line)
            tables[table][words[1]]["rules"].append(iptables_rule(words[2:], line))
    return tables


# Packets


def packets_of(flow, numbers):
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


def numbers_in(text):
    """Numbers that can be ports, and their neighbours, in a text of rules."""
    words = "".join(letter if letter.isdigit() else " " for letter in text).split()
    found = {int(word) for word in words if len(word) <= 5}
    return {near for number in found for near in (number - 1, number, number + 1) if 0 < near < 65536}


def main(argv):
    asked = json.loads(argv[0])
    ruleset_text = output("nft", "-j", "list", "ruleset")
    tables, theirs = nft_tables(json.loads(ruleset_text)["nftables"])
    saved = {(family, "nft"): output(saver(family, "nft")) for family in sorted(theirs)}
    for family, names in (("ip", "/proc/net/ip_tables_names"), ("ip6", "/proc/net/ip6_tables_names")):
        # Only where the old tables exist: asking for them would make them.
        try:
            held = pathlib.Path(names).read_text().split()
        except OSError:
            held = []
        if held and shutil.which(saver(family, "legacy")):
            saved[family, "legacy"] = output(saver(family, "legacy"))
    numbers = numbers_in(ruleset_text + "\n".join(saved.values()))
    packets = [packet for flow in json.loads(asked["flows"]) for packet in packets_of(flow, numbers)]
    found = {}

    def note(where, family, chains, text):
        ours = [packet for packet in packets if packet["family"] == family or family in ("inet", "netdev")]
        # The tables of both families are asked for IPv4, which the gang speaks.
        ours = [packet for packet in ours if family not in ("inet", "netdev") or packet["family"] == "ip"]
        for (verdict, rule, chain), packet in stops(chains, ours):
            key = (where, chain["name"], "policy drop" if rule is None else text(chain["name"], rule[3]))
            stop = found.setdefault(key, {"does": STOPS[verdict], "ports": set(), "interfaces": set()})
            stop["ports"].add(packet["port"])
            stop["interfaces"].add(packet["interface"])

    for (family, table), chains in tables.items():
        if f"{family} {table}" != asked["own"]:
            note(
                f"{family} {table}", family, chains,
                lambda chain, handle, where=(family, table): nft_text(*where, chain, handle),
            )  # fmt: skip
    for (family, variant), text in saved.items():
        command = saver(family, variant).removesuffix("-save")
        for table, chains in iptables_tables(text).items():
            note(f"{command} {table}", family, chains, lambda _, line: line)
    print(
        json.dumps(
            {
                "stops": [
                    {
                        "table": table, "chain": chain, "rule": rule, "does": stop["does"],
                        "ports": sorted(stop["ports"]), "interfaces": sorted(stop["interfaces"]),
                    }
                    for (table, chain, rule), stop in sorted(found.items())
                ]
            }
        )
    )  # fmt: skip

"""Which rules of packet filters stop what the gang needs: argv[0] is JSON {"own": table, "flows": JSON}; prints JSON.

A flow is {"direction": "in" or "out", "interface", "sources": [address], "destinations": [address], "ports": [[first,
last]]}; an address that is null can be any. Each flow is led through the rules as the kernel would lead its first
packet. What cannot be known of a packet, such as a rate or a set of another program, never counts as a stop.

Sources: `nft -j list ruleset`, and `iptables-save` of the variants that hold tables.
"""

from __future__ import annotations

import json
import pathlib
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from gx10_host.commands import output
from gx10_host.filters.iptables import iptables_tables, saver
from gx10_host.filters.nft import nft_tables, nft_text
from gx10_host.filters.packets import STOPS, Chains, numbers_in, packets_of, stops


def main(argv: Sequence[str]) -> int:
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
    found: dict[tuple[str, str, str], dict[str, Any]] = {}

    def note(where: str, family: str, chains: Chains, text: Callable[[str, Any], str]) -> None:
        ours = [packet for packet in packets if packet["family"] == family or family in ("inet", "netdev")]
        # The tables of both families are asked for IPv4, which the gang speaks.
        ours = [packet for packet in ours if family not in ("inet", "netdev") or packet["family"] == "ip"]
        for (verdict, rule, chain), packet in stops(chains, ours):
            key = (where, chain.name, "policy drop" if rule is None else text(chain.name, rule.text))
            stop = found.setdefault(key, {"does": STOPS[verdict], "ports": set(), "interfaces": set()})
            stop["ports"].add(packet["port"])
            stop["interfaces"].add(packet["interface"])

    for (family, table), chains in tables.items():
        if f"{family} {table}" != asked["own"]:
            note(f"{family} {table}", family, chains, partial(nft_text, family, table))
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
    return 0

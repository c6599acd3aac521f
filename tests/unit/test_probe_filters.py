"""Rules of other packet filters: found where they stop what the gang needs, and only there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gx10.described.description import describe
from gx10.described.host_files import firewall
from gx10.described.live import filter_question
from gx10.probes import probe_words

from .host_side import command_on_path, refused
from .test_probes import ask, run

DESCRIBED = describe("lab")
QUESTION = filter_question(DESCRIBED, "gx10-1")
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="an empty network namespace takes root")


def ruled(rules: str, host: str = "gx10-1") -> list[tuple[str, str, str]]:
    """What stops packets where nft has loaded some rules: table and chain, rule, what it does."""
    words = [sys.executable, *probe_words("filters", filter_question(DESCRIBED, host))[1:]]
    command = ["unshare", "--net", "sh", "-ec", 'nft -f -; exec "$@"', "sh", *words]
    done = subprocess.run(command, input=rules, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [
        (f"{stop['table']} {stop['chain']}", stop["rule"], stop["does"]) for stop in json.loads(done.stdout)["stops"]
    ]


def chain(*rules: str, hook: str = "input", policy: str = "accept", table: str = "inet mine") -> str:
    """A table with one base chain."""
    kind = "nat" if hook == "prerouting" else "filter"
    head = f"type {kind} hook {hook} priority 5; policy {policy};"
    return f"table {table} {{ chain c {{ {head} {'; '.join(rules)}; }}; }}"


@ROOT
@pytest.mark.parametrize(
    "rule",
    [
        "tcp dport 6379 drop",
        "tcp dport { 1, 6000-7000 } reject",
        "th dport 20500 drop",
        'iifname "fabric0" drop',
        'iifname "fab*" ip saddr 10.77.1.12 drop',
        "ip saddr 10.77.1.0/24 meta l4proto tcp counter log drop",
        "ct state new tcp dport 8730 drop",
        "tcp dport vmap { 22 : drop }",
        "tcp dport != 1-21 drop",
    ],
)
def test_a_rule_that_stops_a_port_of_the_gang_is_told(rule: str) -> None:
    (stop,) = ruled(chain(rule))
    assert stop[0] == "inet mine c"
    assert stop[1].split(maxsplit=1)[0] == rule.split(maxsplit=1)[0]


@ROOT
@pytest.mark.parametrize(
    "rule",
    [
        "tcp dport 5000 drop",
        "udp dport 6379 drop",
        'iifname "eth9" drop',
        "ip saddr 192.0.2.0/24 drop",
        "ip daddr 172.17.0.2 drop",
        "ct state invalid drop",
        "ct state established,related accept",
        "tcp dport 22 limit rate over 3/minute drop",
        "ip6 saddr fe80::/10 drop",
        'iifname { "lo", "fabric0", "mgmt0" } accept; drop',
        "ip saddr 10.77.1.0/24 accept; tcp dport 6000-9000 drop",
    ],
)
def test_a_rule_that_stops_something_else_is_nobodys_business(rule: str) -> None:
    assert ruled(chain(rule)) == []


@ROOT
def test_a_chain_that_drops_what_no_rule_lets_in_is_told_by_its_policy() -> None:
    assert ruled(chain("tcp dport 22 accept", policy="drop")) == [("inet mine c", "policy drop", "drops")]
    open_wide = ("tcp dport { 22, 8000 } accept", "ip saddr 10.77.0.0/16 accept")
    assert ruled(chain(*open_wide, policy="drop")) == []


@ROOT
def test_jumps_sets_and_redirections_are_followed() -> None:
    rules = """table ip led {
        set ours { type inet_service; flags interval; elements = { 6379, 6390-6400 }; }
        chain away { tcp dport != 1 redirect to :9; }
        chain back { return; }
        chain pre { type nat hook prerouting priority -100; tcp dport 8730 jump back; tcp dport @ours goto away; }
    }"""
    assert ruled(rules) == [("ip led away", "tcp dport != 1 redirect to :9", "redirects")]


@ROOT
def test_what_goes_out_to_peers_is_led_through_as_well() -> None:
    assert ruled(chain('oifname "fabric0" tcp dport 6380 drop', hook="output"))[0][2] == "drops"
    assert ruled(chain('oifname "mgmt0" tcp dport 6380 drop', hook="output")) == []


@ROOT
def test_the_own_table_is_not_told() -> None:
    text = firewall(DESCRIBED).text.decode()
    assert ruled(text) == []
    assert ruled(text.replace('"lo", "fabric0"', '"lo"')) == [], "whoever compares the rules as a whole puts them back"
    assert ruled(text.replace('"lo", "fabric0"', '"lo"').replace("inet gx10", "inet mine")) != []


def nothing_in_nft(family: str = "ip") -> str:
    """A stand-in for nft on a host where iptables holds a table."""
    table = {"table": {"family": family, "name": "filter", "handle": 1}}
    return f"import json; print(json.dumps({{'nftables': [{table!r}]}}))"


def saved(tmp_path: Path, rules: str, family: str = "ip") -> list[dict[str, Any]]:
    """What stops packets where iptables has saved some rules."""
    command = "iptables-nft-save" if family == "ip" else "ip6tables-nft-save"
    env = command_on_path(tmp_path, "nft", nothing_in_nft(family))
    command_on_path(tmp_path, command, f"print({rules!r})")
    told: Any = ask("filters", QUESTION, env)
    stops: list[dict[str, Any]] = told["stops"]
    return stops


def iptables(*rules: str, policy: str = "ACCEPT") -> str:
    return "\n".join(["*filter", f":INPUT {policy} [0:0]", ":OUTPUT ACCEPT [0:0]", ":mine - [0:0]", *rules, "COMMIT"])


@pytest.mark.parametrize(
    "rule",
    [
        "-A INPUT -p tcp -m tcp --dport 6379 -j DROP",
        "-A INPUT -i fabric0 -p tcp -m multiport --dports 1,6380:6390 -j REJECT --reject-with icmp-port-unreachable",
        '-A INPUT ! -i lo -p tcp -m comment --comment "not for -j ACCEPT" -m tcp --dport 22 -j DROP',
        "-A INPUT -s 10.77.1.12/32 -j DROP",
        "-A INPUT ! -s 10.0.0.0/32 -p tcp -m conntrack --ctstate NEW -m tcp --dport 8730 -j DROP",
        "-A INPUT -p tcp -m tcp --dport 20000 --tcp-flags FIN,SYN,RST,ACK SYN -j DROP",
    ],
)
def test_a_rule_of_iptables_is_told_with_its_chain(tmp_path: Path, rule: str) -> None:
    (stop,) = saved(tmp_path, iptables(rule))
    assert (stop["table"], stop["chain"], stop["rule"]) == ("iptables-nft filter", "INPUT", rule)


@pytest.mark.parametrize(
    "rules",
    [
        ["-A INPUT -p udp -m udp --dport 6379 -j DROP"],
        ["-A INPUT -p tcp -m tcp --dport 22 -m recent --update --seconds 30 --hitcount 6 -j DROP"],
        ["-A INPUT -p tcp -m set --match-set banned src -m tcp --dport 22 -j REJECT"],
        ["-A INPUT -i docker0 -j DROP"],
        ["-A INPUT -p tcp --dport 6379 -j mine", "-A mine -s 10.77.1.0/24 -j RETURN", "-A mine -j DROP"],
        ["-A INPUT -m conntrack --ctstate INVALID -j DROP"],
        ["-A INPUT -p tcp --dport 6379 -j LOG"],
    ],
)
def test_a_rule_of_iptables_that_lets_the_gang_through_is_not_told(tmp_path: Path, rules: list[str]) -> None:
    assert saved(tmp_path, iptables(*rules)) == []


UFW = Path(__file__).with_name("recorded") / "ufw.iptables"
DOCKER = Path(__file__).with_name("recorded") / "docker.iptables"
LAB = Path(__file__).with_name("recorded") / "lab-worker.nft.json"


def test_an_ordinary_ufw_that_accepts_what_we_need_is_not_told_and_one_that_does_not_is(tmp_path: Path) -> None:
    text = UFW.read_text()
    assert saved(tmp_path, text) == []
    (stop,) = saved(tmp_path, text.replace("-A ufw-user-input -s 10.77.1.0/24 -j ACCEPT\n", ""))
    assert (stop["chain"], stop["rule"], stop["interfaces"]) == ("INPUT", "policy drop", ["fabric0"])


def test_what_docker_itself_writes_is_not_told(tmp_path: Path) -> None:
    assert "DOCKER" in DOCKER.read_text()
    assert saved(tmp_path, DOCKER.read_text()) == []


def test_of_ipv6_only_a_rule_that_names_a_port_is_told(tmp_path: Path) -> None:
    rules = iptables("-A INPUT -s fe80::/10 -j DROP", "-A INPUT -j DROP", policy="DROP")
    assert saved(tmp_path, rules, "ip6") == []
    rule = "-A INPUT -p tcp -m tcp --dport 8000 -j REJECT --reject-with icmp6-port-unreachable"
    (stop,) = saved(tmp_path, iptables(rule), "ip6")
    assert (stop["table"], stop["does"], stop["ports"]) == ("ip6tables-nft filter", "rejects", [8000])


def test_the_tables_of_a_lab_host_are_not_told(tmp_path: Path) -> None:
    env = command_on_path(tmp_path, "nft", f"print(open({str(LAB)!r}).read())")
    command_on_path(
        tmp_path, "iptables-nft-save", f"print(open({str(LAB.with_suffix('').with_suffix('.iptables'))!r}).read())"
    )
    command_on_path(tmp_path, "ip6tables-nft-save", "print()")
    assert ask("filters", filter_question(DESCRIBED, "gx10-2"), env) == {"stops": []}


def test_a_host_whose_rules_cannot_be_asked_for_is_an_error(tmp_path: Path) -> None:
    env = command_on_path(tmp_path, "nft", "import sys; sys.exit('Operation not permitted')")
    refused(run("filters", QUESTION, env), "Operation not permitted")

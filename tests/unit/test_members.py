"""The record of the cluster's hosts: who is gone is told until retired or forgotten, whichever host was lost."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from gx10.described.description import Description, describe
from gx10.described.live import live_question
from gx10.described.members import Members, member
from gx10.operations import members as operation
from gx10.settings.cluster import Host

DESCRIBED = describe("lab")
HOSTS = tuple(DESCRIBED.cluster.hosts)


def with_hosts(hosts: dict[str, Host], head: str = HOSTS[0]) -> Description:
    """The same cluster with other hosts."""
    cluster = DESCRIBED.cluster.model_copy(update={"hosts": hosts, "head": head})
    return replace(DESCRIBED, checked=replace(DESCRIBED.checked, loaded=replace(DESCRIBED.loaded, cluster=cluster)))


def without(*names: str, head: str = HOSTS[0]) -> Description:
    return with_hosts({name: host for name, host in DESCRIBED.cluster.hosts.items() if name not in names}, head)


ALL = Members().with_described(DESCRIBED)


def test_a_record_that_holds_all_hosts_is_not_written_again() -> None:
    assert ALL.with_described(DESCRIBED) is ALL
    assert Members.newest([json.loads(ALL.text())]) == ALL


def test_a_host_that_is_no_longer_described_stays_in_it_with_its_addresses_until_it_is_forgotten() -> None:
    shorter = without(HOSTS[3])
    later = ALL.with_described(shorter)
    assert later == ALL, "nothing is lost and nothing to write"
    assert later.gone(shorter) == {HOSTS[3]: member(DESCRIBED, HOSTS[3])}
    forgotten = later.without(HOSTS[3])
    assert (forgotten.serial, forgotten.gone(shorter)) == (ALL.serial + 1, {})
    assert HOSTS[3] in forgotten.with_described(DESCRIBED).hosts, "described again, it is known again"


def test_a_host_that_only_got_another_name_is_not_gone() -> None:
    hosts = {("box" if name == HOSTS[3] else name): host for name, host in DESCRIBED.cluster.hosts.items()}
    renamed = with_hosts(hosts)
    assert ALL.gone(renamed) == {}
    assert HOSTS[3] not in ALL.with_described(renamed).hosts


def test_the_newest_record_counts_and_one_that_cannot_be_read_says_nothing() -> None:
    newer = ALL.without(HOSTS[3])
    broken: list[object] = [None, 7, {}, {"serial": 9}, {"serial": 9, "hosts": {"x": {}}}, {"serial": "x", "hosts": {}}]
    broken.append({"serial": 9, "hosts": {"x": {**json.loads(ALL.text())["hosts"][HOSTS[0]], "state": None}}})
    assert Members.newest([json.loads(ALL.text()), *broken, json.loads(newer.text())]) == newer
    assert Members.newest(broken) == Members()


def test_programs_of_an_earlier_version_are_known_by_the_record_and_nothing_else_is() -> None:
    told = json.loads(ALL.text())
    told["programs"] += [
        "earlier.py",
        "gx10_host/gang/earlier.py",
        "../../../etc/passwd",
        "x/y.py",
        "gx10_host/../y.py",
    ]
    earlier = Members.newest([told])
    former = ("/usr/local/lib/gx10/earlier.py", "/usr/local/lib/gx10_host/gang/earlier.py")
    assert earlier.former_programs(DESCRIBED) == former
    assert earlier.with_described(DESCRIBED) is earlier, "it is known for as long as a host may still have it"
    assert ALL.former_programs(DESCRIBED) == ()
    assert earlier.without(HOSTS[3]).programs == earlier.programs


class World:
    """Hosts with their records, and what the operations make of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, records: dict[str, Members | None]) -> None:
        self.records, self.told = records, list[str]()
        self.there = list[str]()
        self.here = SimpleNamespace(name=HOSTS[0], noop=lambda _: None)
        monkeypatch.setattr(operation, "ask", self.ask)
        monkeypatch.setattr(operation, "host", self.here)
        monkeypatch.setattr(operation, "elsewhere", lambda concerned: self.here.name not in concerned)
        monkeypatch.setattr(operation, "drifted", lambda *told, **_: self.told.append(": ".join(told[:2])) or True)

    def ask(self, fact: object, on: str | None = None, **asked: Any) -> dict[str, Any]:  # noqa: ANN401
        kept = self.records[on or self.here.name]
        if fact is operation.LiveState:
            return {"extra": {"/usr/local/lib/gx10": self.there}}
        if fact is operation.Kept:
            return {"read": {"hosts": json.loads(kept.text()) if kept else None}}
        (path,) = asked["paths"]
        entry = operation.File(path, kept.text()) if kept else None
        if entry is None:
            return {path: None}
        import hashlib  # noqa: PLC0415 - only here

        digest = hashlib.sha256(entry.content).hexdigest()
        return {path: {"kind": "file", "mode": "644", "user": "root", "group": "root", "sha256": digest}}

    def look(self, what: Any, description: Description) -> int:  # noqa: ANN401 - pyinfra's own wrapper
        return len(list(what._inner.__wrapped__(description=description)))


def test_a_program_that_this_version_dropped_goes_and_a_file_of_somebody_elses_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    earlier = replace(ALL, serial=7, programs=ALL.programs | {"earlier.py"})
    world = World(monkeypatch, dict.fromkeys(HOSTS, earlier))
    world.there = ["/usr/local/lib/gx10/manifest.py", "/usr/local/lib/gx10/earlier.py", "/usr/local/lib/gx10/mine.py"]
    body: Any = operation.former_programs_left
    (command,) = body._inner.__wrapped__(description=DESCRIBED, live=live_question(DESCRIBED, HOSTS[0]))
    assert str(command) == "rm -f -- /usr/local/lib/gx10/earlier.py"
    assert world.told[1:] == [
        f"/usr/local/lib/gx10/{name}.py: something that nobody described" for name in ("manifest", "mine")
    ]
    world.there.remove("/usr/local/lib/gx10/earlier.py")
    assert list(body._inner.__wrapped__(description=DESCRIBED, live=live_question(DESCRIBED, HOSTS[0]))) == []


def test_every_host_gets_the_newest_record_and_then_nothing_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, dict.fromkeys(HOSTS) | {HOSTS[2]: ALL})
    assert world.look(operation.members_noted, DESCRIBED) == 1
    world.records = dict.fromkeys(HOSTS, ALL)
    assert world.look(operation.members_noted, DESCRIBED) == 0


def test_a_lost_head_is_told_by_the_others_in_one_line_that_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, dict.fromkeys(HOSTS, ALL))
    world.here.name = HOSTS[1]
    description = without(HOSTS[0], head=HOSTS[1])
    assert world.look(operation.gone_told, description) == 0
    assert world.told == [f"{HOSTS[0]}: no longer described: `gx10 retire {HOSTS[0]}` removes what is there"]
    world.here.name = HOSTS[2]
    world.look(operation.gone_told, description)
    assert len(world.told) == 1, "once, on the head"

"""What the gang's operations find, what that costs to put back, and what they then ask of the supervisor."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gx10_host.gang import agent as gang_agent
from gx10_host.wire import Life

from gx10.described.containers import described_containers
from gx10.described.description import describe
from gx10.described.gang_files import ENGINE_UNIT, GANG_UNIT, gang_units, supervisor_drop_ins
from gx10.described.live import live_question
from gx10.described.units import ENGINE_CONTAINER, RAY_CONTAINER
from gx10.drift.classes import ACTED_ON, Drift
from gx10.drift.classify import resolved
from gx10.drift.findings import Finding, Item
from gx10.facts import DockerState, FileStates, LiveState, SystemState
from gx10.operations import gang, live
from gx10.operations.handed import described_gang
from gx10.operations.loop.declared import DECLARED
from tasks import ray

from .test_reconcile_probes import as_described

DESCRIBED = describe("lab")
HEAD, *WORKERS = DESCRIBED.cluster.hosts
GANG = described_gang(DESCRIBED)
OLDER = "0" * 16


@dataclass
class World:
    """What hosts answer, and what an operation made of it."""

    engine: str = "active"
    supervisor: str = "active"
    marker: str = "described"
    deleted: dict[str, str] = field(default_factory=dict)
    former: dict[str, str] = field(default_factory=dict)
    containers: dict[str, dict[str, Any]] = field(default_factory=dict)
    held: tuple[str, ...] = ()
    found: list[Finding] = field(default_factory=list)
    function: str = ""
    host: Any = field(
        default_factory=lambda: SimpleNamespace(
            name=HEAD, noop=lambda _: None, print_prefix="", state=SimpleNamespace(is_executing=True)
        )
    )

    def ask(self, fact: object, on: str | None = None, *, fresh: bool = False, **asked: Any) -> dict[str, Any]:  # noqa: ANN401
        if fact is DockerState:
            return {"containers": {name: self.containers[on or HEAD].get(name) for name in asked["containers"]}}
        if fact is SystemState:
            states = {ENGINE_UNIT: self.engine, GANG_UNIT: self.supervisor}
            return {"units": {unit: {"ActiveState": states[unit]} for unit in asked["units"]}}
        if fact is FileStates:
            return {path: {"sha256": hashlib.sha256(self.marker.encode()).hexdigest()} for path in asked["paths"]}
        assert fact is LiveState
        return {"deleted": self.deleted, "former": self.former}

    def drifted(self, subject: str, found: object = "", described: object = "", *, drift: Drift | None = None) -> bool:
        kind = drift or DECLARED[self.function].drift
        self.found.append(Finding(subject, str(found), str(described), kind))
        return kind in ACTED_ON and subject not in self.held

    def look(self, operation: Any, **arguments: Any) -> list[str]:  # noqa: ANN401 - pyinfra's own wrapper
        body = operation._inner.__wrapped__
        self.function = f"{body.__module__.rpartition('.')[2]}.{body.__name__}"
        return [str(command) for command in body(**arguments)]

    def serving(self) -> list[str]:
        return self.look(gang.generation_serving, gang=GANG, unit=ENGINE_UNIT, seconds=60)

    def supervising(self) -> list[str]:
        question = live_question(DESCRIBED, HEAD)
        return self.look(gang.supervisor_current, unit=GANG_UNIT, digest="described", live=question)

    def draining(self) -> list[str]:
        return self.look(gang.former_head_drained, gang=GANG, unit=ENGINE_UNIT, drain_seconds=600, stop_seconds=90)

    @property
    def classes(self) -> dict[str, Drift]:
        return {one.subject: one.drift for one in self.found}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A gang that serves as described."""
    world = World()
    monkeypatch.setattr(gang, "ask", world.ask)
    monkeypatch.setattr(gang, "drifted", world.drifted)
    monkeypatch.setattr(gang, "elsewhere", lambda _: False)
    monkeypatch.setattr(gang, "stored_model", lambda *_, **__: {"digest": "weights"})
    monkeypatch.setattr(gang, "host", world.host)
    for host in DESCRIBED.cluster.hosts:
        world.containers[host] = {name: running(host, name) for name in described_containers(DESCRIBED, host)}
    return world


def running(host: str, name: str, generation: str = "") -> dict[str, Any]:
    """A container that the supervisor started."""
    generation = generation or GANG.generation()
    found = as_described(DESCRIBED, host, name)
    found["labels"] |= {"gx10.generation": generation, "gx10.life": "7"}
    found["environment"]["GX10_RANK_OF"] = hashlib.sha256(f"{generation}.7".encode()).hexdigest()
    return {**found, "running": True}


def test_a_gang_that_serves_as_described_is_left_alone(world: World) -> None:
    assert (world.serving(), world.supervising(), world.found) == ([], [], [])


@pytest.mark.parametrize("engine", ["active", "activating", "failed"])
def test_another_generation_anywhere_takes_one_drained_restart_of_the_whole_gang(world: World, engine: str) -> None:
    world.engine = engine
    world.containers[WORKERS[1]][RAY_CONTAINER] = running(WORKERS[1], RAY_CONTAINER, OLDER)
    (command,) = world.serving()
    assert f"{' '.join(gang.CONTROL)} restart --reason" in command
    assert f"--generation {GANG.generation()}" in command
    assert world.classes == {f"{RAY_CONTAINER} on {WORKERS[1]}": Drift.RESTART}
    assert world.found[0].found == OLDER


@pytest.mark.parametrize("state", ["active", "activating", "deactivating"])
def test_a_former_head_ends_its_requests_by_its_own_supervisor_and_that_is_a_restart(world: World, state: str) -> None:
    world.host.name, world.engine = WORKERS[0], state
    (command,) = world.draining()
    assert command.startswith(f"{' '.join(gang.CONTROL)} stop --drain-timeout 600 --reason ")
    assert command.endswith("--seconds 690")
    assert world.classes == {f"{ENGINE_UNIT} on {WORKERS[0]}": Drift.RESTART}
    assert world.found[0].described == f"inactive: {HEAD} is head"


@pytest.mark.parametrize(
    ("name", "state"), [(HEAD, "active"), (WORKERS[0], "inactive"), (WORKERS[0], "failed"), (WORKERS[0], None)]
)
def test_the_described_head_and_a_host_without_an_engine_are_left_alone(world: World, name: str, state: Any) -> None:  # noqa: ANN401
    world.host.name, world.engine = name, state
    assert (world.draining(), world.found) == ([], [])


def test_a_drain_that_is_put_off_leaves_the_former_head_alone(world: World) -> None:
    world.host.name = WORKERS[0]
    world.held = (f"{ENGINE_UNIT} on {WORKERS[0]}",)
    assert world.draining() == []


def test_a_dry_run_says_that_a_former_head_is_drained(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world.host.name, world.host.state.is_executing = WORKERS[0], False
    assert len(world.draining()) == 1
    assert f"{WORKERS[0]} is head no more: its running requests end first, for up to 600 s" in caplog.text


def test_a_former_head_is_drained_before_any_file_of_the_gang_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    operations = [
        "former_head_drained",
        "files_described",
        "generation_described",
        "units_enabled",
        "supervisor_current",
    ]
    for name in operations:
        monkeypatch.setattr(ray, name, lambda operation=name, **_: called.append(operation))
    for host in DESCRIBED.cluster.hosts:
        called.clear()
        monkeypatch.setattr(ray, "host", SimpleNamespace(name=host))
        ray.ray._inner(DESCRIBED)
        assert called == operations, "on every host, so that all wait for the former head"


def test_a_container_started_by_hand_is_of_no_generation_whatever_its_label_says(world: World) -> None:
    del world.containers[WORKERS[0]][RAY_CONTAINER]["environment"]["GX10_RANK_OF"]
    (command,) = world.serving()
    assert " restart " in command
    assert world.found[0].found == "no life of the gang"
    assert set(world.classes.values()) == {Drift.RESTART}


@pytest.mark.parametrize("state", ["inactive", "failed", "activating"])
def test_a_gang_that_only_stands_still_is_started_at_once(world: World, state: str) -> None:
    world.engine = state
    for containers in world.containers.values():
        containers.clear()
    (command,) = world.serving()
    assert f"{' '.join(gang.CONTROL)} start --generation" in command
    assert world.classes == {ENGINE_UNIT: Drift.HEAL}


def test_a_fallback_that_serves_is_told_and_stays(world: World) -> None:
    rung = DESCRIBED.checked.fallbacks[1]
    world.containers[HEAD][ENGINE_CONTAINER]["command"] = list(rung.argv)
    assert world.serving() == []
    assert world.classes == {f"command of {ENGINE_CONTAINER} on {HEAD}": Drift.REPORT}
    assert world.found[0].found == f"fallback: {rung.name}"


def test_what_is_held_is_not_restarted_and_what_is_not_held_is(world: World) -> None:
    for host in WORKERS[:2]:
        world.containers[host][RAY_CONTAINER] = running(host, RAY_CONTAINER, OLDER)
    world.held = (f"{RAY_CONTAINER} on {WORKERS[0]}",)
    assert len(world.serving()) == 1
    world.held += (f"{RAY_CONTAINER} on {WORKERS[1]}",)
    assert world.serving() == []


@pytest.mark.parametrize("state", ["inactive", "failed"])
def test_a_supervisor_that_does_not_run_is_started_also_while_a_restart_is_put_off(world: World, state: str) -> None:
    world.supervisor, world.marker = state, "older"
    assert "systemctl reload-or-restart" in world.supervising()[0]
    assert world.classes == {GANG_UNIT: Drift.HEAL}


def test_a_supervisor_takes_a_described_configuration_up_with_the_files_it_belongs_to(world: World) -> None:
    world.marker = "older"
    assert "systemctl reload-or-restart" in world.supervising()[0]
    assert world.classes == {GANG_UNIT: Drift.GANG}
    item = Item("Ray | Run the supervisor", HEAD, Drift.GANG, tuple(world.found), changes=True)
    assert [drift for _, drift in resolved([item])] == [Drift.HEAL]
    restart = Item("Engine | Start", HEAD, Drift.RESTART, (Finding("gx10-ray", drift=Drift.RESTART),), changes=True)
    assert [drift for _, drift in resolved([item, restart])] == [Drift.RESTART, Drift.RESTART]


def test_a_supervisor_that_runs_a_replaced_executable_takes_up_the_new_one(world: World) -> None:
    world.deleted = {GANG_UNIT: "/usr/bin/python3.12"}
    assert "systemctl reload-or-restart" in world.supervising()[0]
    assert world.classes == {GANG_UNIT: Drift.HEAL}
    world.found.clear()
    world.deleted = {"gx10-share.service": "/usr/bin/python3.12"}
    assert (world.supervising(), world.found) == ([], [])


def test_a_supervisor_of_an_earlier_version_is_replaced_and_its_rank_goes_on(world: World) -> None:
    world.marker, world.former = "older", {GANG_UNIT: "/usr/local/lib/gx10/gang.py"}
    killed, started = world.supervising()
    assert killed == f"systemctl kill --kill-whom=main --signal=KILL -- {GANG_UNIT}", (
        "by SIGHUP it would run its own again"
    )
    assert started == f"systemctl start -- {GANG_UNIT}"
    assert world.classes == {GANG_UNIT: Drift.GANG}
    world.held = (GANG_UNIT,)
    assert world.supervising() == []
    world.held, world.supervisor = (), "failed"
    assert "systemctl reload-or-restart" in world.supervising()[0], "nothing of it runs that could go on"


def test_what_the_supervisor_writes_for_a_life_is_nobodys_addition(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rung = {"name": "less", "file": str(tmp_path / "less"), "needed_to_start_gib": 105.5}
    config = {"engine_unit": ENGINE_UNIT, "needed_to_start_gib": 108.5, "fallbacks": [rung]}
    (tmp_path / "less").touch()
    monkeypatch.setattr(gang_agent, "DROP_INS", tmp_path / "run")
    monkeypatch.setattr(gang_agent, "systemctl", lambda *_, **__: "")
    for host in DESCRIBED.cluster.hosts:
        for unit in gang_units(DESCRIBED.cluster, host)[:-1]:
            gang_agent.Host(config).start(unit, Life.parse("0123456789abcdef.7"), f"{host}/part", 1)
        wrote = {str(path).removeprefix(str(tmp_path / "run")) for path in (tmp_path / "run").rglob("*.conf")}
        assert {f"/run/systemd/system{path}" for path in wrote} == set(supervisor_drop_ins(DESCRIBED.cluster, host))
        shutil.rmtree(tmp_path / "run")


def test_other_drop_ins_are_told_also_of_the_supervisor_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    question = live_question(DESCRIBED, HEAD)
    assert {*gang_units(DESCRIBED.cluster, HEAD)} <= {*question["units"]}
    own = supervisor_drop_ins(DESCRIBED.cluster, HEAD)
    added = [f"/etc/systemd/system/{GANG_UNIT}.d/mine.conf", f"/run/systemd/system/{ENGINE_UNIT}.d/mine.conf"]
    told = {
        "extra": {}, "others": {}, "packaged": [], "fragments": {}, "beside": {GANG_UNIT: [added[0]]}, "stops": [],
        "drop_ins": {ENGINE_UNIT: [*own, added[1]], GANG_UNIT: [added[0]]},
    }  # fmt: skip
    monkeypatch.setattr(live, "ask", lambda *_, **__: told)
    monkeypatch.setattr(live, "host", world.host)
    monkeypatch.setattr(live, "drifted", world.drifted)
    world.look(live.nothing_added, live=question, filters={}, known={*own})
    assert world.classes == dict.fromkeys(added, Drift.REPORT)

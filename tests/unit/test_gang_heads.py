"""Hosts obey the head that they are configured with, and a head that nobody obeys any more stands down."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from gx10_host.gang import store as gang_store
from gx10_host.wire import Life, Order

from .gang_world import CONFIG, G1, NAMES, Intruder, World

FORMER, HEAD, WORKER = NAMES[:3]
ALL = CONFIG["hosts"]
WITHOUT_FORMER = {name: address for name, address in ALL.items() if name != FORMER}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Three hosts that serve under a new head; the former one, the fourth, was dropped while it was off."""
    world = World(tmp_path, head=HEAD, hosts=WITHOUT_FORMER)
    world.until("serving")
    return world


def test_a_former_head_that_comes_back_changes_nothing_and_stands_down(world: World) -> None:
    world.pass_time(15)
    former = Intruder(world, FORMER, ALL)
    world.pass_time(5)
    assert former.phase == "gathering"
    assert former.conductor.now.waiting[0] == f"{HEAD} obeys {HEAD} (10.0.0.2) of cluster four, not this head"
    world.pass_time(5)
    assert former.phase == "deposed"
    assert former.conductor.now.reason == f"every other host obeys {HEAD} (10.0.0.2) of cluster four"
    world.pass_time(600)
    assert (world.phase, world.life) == ("serving", f"{G1}.1")
    assert former.conductor.past.number == 0, "no start was tried"
    assert (former.conductor.past.failures, former.conductor.past.restarts) == ((), 0)
    assert sum("deposed" in line for line in former.told) == 1


def test_a_head_that_stands_down_orders_nobody(world: World) -> None:
    former = Intruder(world, FORMER, ALL)
    world.pass_time(15)
    assert former.phase == "deposed"
    (sender,) = world.conductor.picture()["foreign"]
    world.pass_time(60)
    assert world.conductor.picture()["foreign"][0]["orders"] == sender["orders"]


def test_the_head_in_office_names_the_foreign_one_with_since_when_and_how_many(world: World) -> None:
    began = world.now
    Intruder(world, FORMER, ALL)
    world.pass_time(20)
    (sender,) = world.conductor.picture()["foreign"]
    assert (sender["head"], sender["address"], sender["cluster"]) == (FORMER, "10.0.0.1", "four")
    assert sorted(sender["hosts"]) == sorted(WITHOUT_FORMER)
    assert sender["orders"] > len(WITHOUT_FORMER)
    assert began <= sender["since"] <= sender["last"] <= world.now
    assert any(f"orders of {FORMER} (10.0.0.1, cluster four) are refused" in line for line in world.told)
    metrics = "".join(gang_store.metric_lines(world.settings, world.conductor.picture()))
    assert f'gx10_gang_foreign_orders{{cluster="four",head="{FORMER}",address="10.0.0.1"}}' in metrics


def test_when_a_foreign_head_was_last_heard_stands_also_when_the_host_that_heard_it_falls_silent(world: World) -> None:
    stop = Order(want="stop", cluster="four", head=FORMER)
    world.agents[WORKER].answer(stop, ALL[FORMER])
    heard = world.now
    world.pass_time(5)
    world.cut.add(WORKER)
    world.pass_time(5)
    (sender,) = world.conductor.picture()["foreign"]
    assert (sender["since"], sender["last"]) == (pytest.approx(heard, abs=1.5), pytest.approx(heard, abs=1.5))
    assert sender["hosts"] == [WORKER]


def test_a_former_head_whose_rank_runs_ends_it_without_spending_its_budget(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.until("serving")
    world.pass_time(15)
    for name in NAMES[1:]:  # A deploy that does not reach the head: its management cable is out.
        world.settings["head"], world.settings["hosts"] = HEAD, WITHOUT_FORMER
        world.agents[name] = world.agent(name)
    world.until("deposed", 12)
    world.pass_time(30)
    assert all(host.processes == {} for host in world.hosts.values())
    past = world.conductor.past
    assert (past.failures, past.restarts, past.ends) == ((), 0, ())
    metrics = "".join(gang_store.metric_lines(world.settings, world.conductor.picture()))
    assert 'gx10_gang_phase{cluster="four",phase="deposed"} 1' in metrics


def test_a_deploy_that_moves_the_head_host_by_host_deposes_nobody(tmp_path: Path) -> None:
    world = World(tmp_path)
    former = {name: agent for name, agent in world.agents.items() if name != FORMER}
    world.settings["head"] = HEAD
    for name in former:
        world.agents[name] = world.agent(name)  # They know the new head already; the one that runs is told last.
    world.pass_time(4)
    world.agents.update(former)
    world.until("serving")
    assert not any("deposed" in line for line in world.told)


def test_one_host_that_obeys_another_head_is_waited_for_and_deposes_nobody(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.settings["head"] = HEAD
    world.agents[WORKER] = world.agent(WORKER)
    world.pass_time(300)
    assert world.phase == "gathering"
    assert world.conductor.now.waiting == (f"{WORKER} obeys {HEAD} (10.0.0.2) of cluster four, not this head",)
    assert world.starts == []


def test_a_silent_host_beside_those_that_refuse_is_no_refusal(world: World) -> None:
    former = Intruder(world, FORMER, ALL)
    world.cut.add(WORKER)
    world.pass_time(60)
    assert former.phase == "gathering", "whom the silent host obeys is unknown"


def test_a_start_that_is_asked_for_ends_a_stand_down_once_the_hosts_obey_again(world: World) -> None:
    former = Intruder(world, FORMER, ALL)
    world.pass_time(15)
    assert former.phase == "deposed"
    wish = former.path / "state/wish.json"
    wish.write_text(json.dumps({"id": "1", "want": "start"}))
    world.pass_time(1)
    assert former.phase == "gathering"
    world.pass_time(10)
    assert former.phase == "deposed", "they still obey the other"
    assert (world.phase, world.life) == ("serving", f"{G1}.1")


def test_a_worker_that_was_dropped_is_nobodys_and_runs_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.until("serving")
    dropped = world.agents.pop(NAMES[3])
    del world.conductor.links[NAMES[3]]
    world.links.pop(NAMES[3], None)
    for _ in range(60):
        world.pass_time(0.5)
        dropped.step()
    assert world.hosts[NAMES[3]].processes == {}
    assert dropped.standing().startswith(f"nobody's: no order of {FORMER} for 30 s")
    assert sum("nobody's" in line for line in world.told) == 1
    dropped.answer(dataclasses.replace(world.links[HEAD].order, want="stop", life=Life.parse(f"{G1}.1")), ALL[FORMER])
    dropped.step()
    assert dropped.standing() == f"{G1}.1 stop"

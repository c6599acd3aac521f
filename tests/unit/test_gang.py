"""The gang lives, dies and comes back as one, on four made hosts; the world asserts that no two lives coexist."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from .gang_world import CONFIG, DEAD, G1, G2, NAMES, START_SECONDS, World

HEAD, WORKER = NAMES[0], NAMES[2]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Four hosts that serve."""
    world = World(tmp_path)
    world.until("serving")
    return world


def test_a_life_begins_on_every_host_with_one_name(world: World) -> None:
    assert {life for _, _, life, _ in world.starts} == {f"{G1}.1"}
    assert sorted((host, unit) for host, unit, _, _ in world.starts) == sorted(
        [*((name, "ray") for name in NAMES), (HEAD, "engine")]
    )
    assert world.door.steps[-1] == 0


@pytest.mark.parametrize("victim", NAMES)
def test_one_lost_rank_ends_the_whole_life_and_the_next_serves(world: World, victim: str) -> None:
    world.hosts[victim].die("ray")
    assert world.until("ending", 5) <= 3, "evidence of death acts at once"
    world.until("serving")
    assert world.life == f"{G1}.2"
    assert world.lives_of("ray") == dict.fromkeys(NAMES, f"{G1}.2")


def test_a_unit_that_ends_a_moment_after_its_processes_is_found_at_once(world: World) -> None:
    world.pass_time(20)
    world.api.hangs = True  # The engine does not notice.
    del world.hosts[WORKER].processes["ray"]
    world.pass_time(0.5)
    world.hosts[WORKER].unit["ray"] = DEAD
    assert world.until("ending", 5) <= 1.5


def test_the_head_ends_before_the_workers(world: World) -> None:
    world.hosts[WORKER].die("ray")
    world.until("starting")
    assert [name for name, _ in world.stops if name != HEAD]
    last_of_head = max(index for index, (name, _) in enumerate(world.stops) if name == HEAD)
    assert last_of_head < min(index for index, (name, _) in enumerate(world.stops) if name != HEAD)


def test_an_engine_that_exits_cleanly_is_a_death_too(world: World) -> None:
    world.hosts[HEAD].unit["engine"] = {**DEAD, "ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}
    world.until("ending", 5)
    world.until("serving")


def test_a_rank_that_does_not_end_as_asked_is_killed_and_waited_for(world: World) -> None:
    world.hosts[WORKER].stubborn = True
    world.hosts[WORKER].kill = lambda but="": None  # type: ignore[method-assign]
    world.hosts[HEAD].die("engine")
    world.until("gathering")
    world.pass_time(60)
    assert world.phase == "gathering"
    assert world.conductor.now.waiting == (f"{WORKER} still ends {G1}.1",)
    del world.hosts[WORKER].kill
    world.until("serving")
    assert world.conductor.past.number == 2, "waiting is no attempt"


def test_a_worker_that_is_split_off_ends_its_rank_before_the_next_life(world: World) -> None:
    world.cut.add(WORKER)
    world.pass_time(25)
    assert "ray" not in world.hosts[WORKER].processes, "its lease is over"
    world.pass_time(60)
    assert world.phase == "gathering"
    world.cut.clear()
    world.until("serving")


def test_a_cable_out_for_five_seconds_changes_nothing(world: World) -> None:
    world.cut.add(WORKER)
    world.pass_time(5)
    world.cut.clear()
    world.pass_time(30)
    assert (world.phase, world.life) == ("serving", f"{G1}.1")


def test_a_silent_supervisor_ends_nothing_while_tokens_come(world: World) -> None:
    world.agents[WORKER].obey = lambda order: world.agents[WORKER].report  # its lease runs out, but it does not step
    world.agents[WORKER].step = lambda: None
    link = world.links[WORKER]
    link.ask = lambda: None  # type: ignore[method-assign]
    for _ in range(60):
        world.api.tokens += 1
        world.pass_time(1)
    assert (world.phase, world.life) == ("serving", f"{G1}.1")
    assert any("its supervisor is to be looked at" in line for line in world.told)


def test_a_token_after_the_last_word_of_a_host_buys_no_time(world: World) -> None:
    world.pass_time(10)
    world.cut.add(WORKER)
    world.api.tokens += 1

    def asked_in_vain(now: float, seconds: float) -> None:
        world.liveness.canary, world.liveness.asked_at, world.liveness.late_after = {}, now, seconds

    world.liveness._ask = asked_in_vain
    assert world.until("ending", 60) <= 20
    assert world.conductor.now.incident.host == WORKER


@pytest.mark.parametrize(
    ("silent", "host", "said"),
    [
        (NAMES[1:], HEAD, f"no other host answers {HEAD} (its own cable may be out) "),
        (NAMES[2:], NAMES[2], f"{NAMES[2]}, {NAMES[3]} do not answer "),
        ((WORKER,), WORKER, f"{WORKER} does not answer "),
    ],
    ids=["all others", "two", "one"],
)
def test_a_head_that_hears_nobody_suspects_its_own_cable(
    world: World, silent: tuple[str, ...], host: str, said: str
) -> None:
    world.pass_time(10)
    world.cut.update(silent)
    world.until("ending", 60)
    incident = world.conductor.now.incident
    assert (incident.host, incident.reason.startswith(said)) == (host, True), incident


@pytest.mark.parametrize("lease", [20, 5], ids=["longer than silence", "shorter"])
def test_a_start_without_the_other_hosts_ends_and_names_them_all(tmp_path: Path, lease: float) -> None:
    world = World(tmp_path, lease_seconds=lease)
    world.loads = False
    world.until("starting")
    world.cut.update(NAMES[1:])
    assert world.until("ending", 60) <= lease + 2
    incident = world.conductor.now.incident
    assert incident.reason == f"no other host answers {HEAD} (its own cable may be out) over the fabric"
    assert world.conductor.past.failures == (), "no attempt of its own is spent"


@pytest.mark.parametrize("victims", [(WORKER,), (HEAD,), NAMES], ids=["worker", "head", "all"])
def test_hosts_that_lose_power_are_waited_for_and_cost_nothing(world: World, victims: tuple[str, ...]) -> None:
    world.power_off(*victims)
    world.pass_time(90)
    for name in reversed(victims):
        world.power_on(name)
        world.pass_time(7)
    world.until("serving")
    assert world.conductor.past.failures == ()
    assert world.conductor.past.number == 2


def test_a_host_that_boots_during_a_start_never_joins_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.until("starting")
    world.pass_time(1)
    world.power_off(WORKER)
    world.power_on(WORKER)
    world.until("serving")
    assert world.life == f"{G1}.2"


def test_the_life_number_grows_over_a_lost_boot_of_the_head(world: World) -> None:
    world.power_off(HEAD)
    world.pass_time(30)
    world.power_on(HEAD)
    world.until("serving")
    assert world.life == f"{G1}.2"


def test_supervisors_that_are_started_anew_leave_the_life_alone(world: World) -> None:
    for name in NAMES:
        world.agents[name] = world.agent(name)
    world.conductor = world.conducted()
    world.pass_time(30)
    assert (world.phase, world.life) == ("serving", f"{G1}.1")


def test_the_budget_ends_a_permanent_fault_and_a_start_resumes(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.loads = False
    world.until("failed", 400)
    assert world.conductor.past.number == 3
    world.pass_time(300)
    assert world.conductor.past.number == 3, "nothing is tried past the budget"
    assert "no completion within 60 s" in world.conductor.now.spent
    world.loads = True
    world.power_off(HEAD)
    world.power_on(HEAD)
    world.pass_time(60)
    assert world.phase == "failed", "a boot does not renew the budget"
    world.wish("start")
    world.until("serving")


def test_waiting_for_a_host_or_for_memory_costs_no_attempt(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.hosts[WORKER].lacks = ["3.0 GiB of memory are available, a rank needs 105"]
    world.pass_time(600)
    assert world.conductor.now.waiting == (f"{WORKER}: {world.hosts[WORKER].lacks[0]}",)
    assert world.starts == []
    world.hosts[WORKER].lacks = []
    world.until("serving")
    assert world.life == f"{G1}.1"


def test_a_lasting_service_renews_the_budget(world: World) -> None:
    for _ in range(5):
        world.pass_time(15)
        world.hosts[WORKER].die("ray")
        world.until("ending", 5)
        world.until("serving")
    assert world.phase == "serving"


def test_hosts_that_describe_different_generations_are_not_started(world: World) -> None:
    world.describe(WORKER, G2)
    world.hosts[WORKER].die("ray")
    world.until("gathering")
    world.pass_time(60)
    assert "different generations" in world.conductor.now.waiting[0]
    for name in NAMES:
        world.describe(name, G2)
    world.until("serving")
    assert world.life == f"{G2}.2"


# Drain


def test_a_planned_restart_closes_the_door_and_waits_for_running_requests(world: World) -> None:
    world.api.running = 2
    world.wish("restart")
    world.pass_time(10)
    assert world.phase == "draining"
    assert world.door.steps[-2:] == [1, 2]
    assert world.stops == []
    world.api.running = 0
    world.until("starting")
    world.until("serving")
    assert world.stops[0] == (HEAD, "engine"), "the engine is stopped before the ranks it runs on"
    assert world.door.steps[-1] == 0
    assert (world.conductor.past.failures, world.conductor.past.restarts) == ((), 0)


def test_a_drain_that_takes_too_long_is_cut_off_and_says_so(world: World) -> None:
    world.api.running = 2
    world.wish("restart", drain_seconds=12)
    world.until("ending", 20)
    assert any("2 requests cut off" in line for line in world.told)


def test_an_engine_that_does_not_say_what_runs_is_not_taken_for_drained(world: World) -> None:
    world.api.running = "unknown"
    world.wish("restart", drain_seconds=20)
    world.pass_time(15)
    assert (world.phase, world.stops) == ("draining", [])
    world.until("ending", 10)
    assert any("how many requests were cut off is unknown" in line for line in world.told)
    assert world.conductor.now.cut is None


def test_a_stopped_gang_stays_stopped_over_a_boot_until_it_is_started(world: World) -> None:
    world.wish("stop")
    world.until("stopped")
    world.pass_time(5)
    assert world.lives_of("ray") == {}
    world.power_off(*NAMES)
    world.power_on(*NAMES)
    world.pass_time(60)
    assert world.phase == "stopped"
    world.wish("start")
    world.until("serving")


def test_a_worker_that_is_to_stop_is_drained_for(world: World) -> None:
    world.agents[WORKER].leaving = True
    world.api.running = 1
    world.pass_time(10)
    assert world.phase == "draining"
    world.api.running = 0
    world.until("gathering")
    world.pass_time(5)
    assert world.agents[WORKER].report.idle
    assert f"{WORKER} is to stop" in world.conductor.now.waiting


def test_a_head_that_is_to_stop_drains_and_ends_every_rank(world: World) -> None:
    world.api.running = 1
    for _ in range(20):
        assert not world.conductor.leave()
        world.pass_time(0.5)
    assert world.phase == "draining"
    world.api.running = 0
    for _ in range(60):
        if world.conductor.leave():
            break
        world.pass_time(0.5)
    assert world.conductor.leave()
    assert all(host.processes == {} for host in world.hosts.values())


# Liveness


def test_a_wedge_is_found_where_the_counters_say_that_nothing_runs(world: World) -> None:
    world.api.hangs = True
    assert world.until("ending", 60) < 30
    assert "completions missed" in world.conductor.now.reason
    world.api.hangs = False
    world.until("serving")


def test_a_long_prefill_is_life_though_no_token_comes(world: World) -> None:
    world.api.hangs = True
    world.api.running = 1
    for _ in range(300):
        world.api.tokens += 1
        world.pass_time(1)
    assert (world.phase, world.life) == ("serving", f"{G1}.1")


def test_an_idle_engine_is_asked_now_and_then_and_left_alone(world: World) -> None:
    world.pass_time(100)
    assert (world.phase, world.life) == ("serving", f"{G1}.1")
    assert 5 <= world.api.canaries <= 12


def test_one_missed_completion_is_not_enough(world: World) -> None:
    world.api.refuses = "HTTP 500"
    while world.liveness.misses == 0:
        world.pass_time(0.5)
    world.api.refuses = ""
    world.pass_time(60)
    assert (world.phase, world.life) == ("serving", f"{G1}.1")


# What is given up, put back and written down


def test_a_start_that_runs_out_of_memory_goes_down_one_rung(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.loads = False
    world.hosts[WORKER].out_of_memory = ["kernel: Out of memory: Killed process 7 (ray::RayWorker)"]
    world.until("starting")
    world.pass_time(2)
    world.hosts[WORKER].die("ray")
    world.until("gathering")
    world.until("starting")
    world.pass_time(2)
    assert world.conductor.past.fallback == 1
    assert world.starts[-1][3] == 1
    world.loads, world.hosts[WORKER].out_of_memory = True, []
    world.until("serving")
    assert world.conductor.picture()["fallback_name"] == "without MTP"
    world.wish("start", full=True)
    world.until("starting")
    world.pass_time(2)
    world.until("serving")
    assert world.conductor.past.fallback == 0
    assert world.starts[-1][3] == 0


def test_a_fallback_with_a_smaller_budget_starts_with_less_memory(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.hosts[WORKER].available = 106.0
    world.pass_time(120)
    assert world.starts == []
    assert world.conductor.now.waiting == (f"{WORKER}: 106.0 GiB of memory are available",)
    world.conductor.past = replace(world.conductor.past, fallback=2)
    world.until("serving")
    assert world.starts[-1][3] == 2


def test_a_death_while_serving_gives_nothing_up(world: World) -> None:
    world.hosts[WORKER].out_of_memory = ["CUDA out of memory"]
    world.hosts[WORKER].die("ray")
    world.until("ending")
    world.until("starting")
    assert world.conductor.past.fallback == 0


def test_a_generation_that_does_not_start_is_undone_once(world: World) -> None:
    world.pass_time(15)
    for name in NAMES:
        world.describe(name, G2)
    world.loads = False
    world.wish("restart")
    world.until("starting", 60)
    assert world.life == f"{G2}.2"
    while world.conductor.past.rolled_back is None:
        world.pass_time(0.5)
    assert world.conductor.past.number == 3, "two attempts before it"
    world.loads = True
    world.until("serving")
    assert world.life == f"{G1}.4"
    assert all(str(agent.files.described()) == G1 for agent in world.agents.values())


def test_the_generation_that_was_put_back_is_not_undone_again(world: World) -> None:
    world.pass_time(15)
    for name in NAMES:
        world.describe(name, G2)
    world.loads = False
    world.wish("restart")
    world.until("failed", 900)
    assert world.conductor.past.number == 1 + 2 + 3


@pytest.mark.parametrize(
    ("kept_for", "said"),
    [
        (
            {"head": NAMES[1], "hosts": {**CONFIG["hosts"], "gx10-5": "10.0.0.5"}},
            f"its head was {NAMES[1]}, now it is {NAMES[0]}; gx10-5 belonged to it and is no member now",
        ),
        ({"head": NAMES[0], "hosts": {**CONFIG["hosts"], WORKER: "10.0.0.9"}}, f"{WORKER} was at 10.0.0.9, now it is"),
        (
            {"head": NAMES[0], "hosts": {name: CONFIG["hosts"][name] for name in NAMES[:3]}},
            f"{NAMES[3]} is a member now",
        ),
        (None, "which hosts it served on was not written down"),
    ],
    ids=["another head, a host more", "another address", "a host less", "unknown"],
)
def test_a_generation_of_another_membership_is_never_put_back_and_the_failed_gang_says_why(
    world: World, kept_for: dict[str, object] | None, said: str
) -> None:
    world.pass_time(15)
    for name in world.agents:
        kept = world.path / name / "gang/kept/kept.json"
        kept.write_text(json.dumps({**json.loads(kept.read_text()), "membership": kept_for}))
        world.describe(name, G2)
    world.loads = False
    world.wish("restart")
    world.until("failed", 400)
    assert world.conductor.past.rolled_back is None
    assert all(str(agent.files.described()) == G2 for agent in world.agents.values())
    assert f"generation {G1} is not put back, as it cannot serve here" in world.conductor.now.spent
    assert said in world.conductor.now.spent
    assert world.conductor.past.number == 1 + 3, "the described generation has its whole budget"


def test_attempts_and_the_last_start_are_told_to_who_waits(world: World) -> None:
    world.pass_time(15)
    assert world.conductor.picture()["started_in"] == pytest.approx(START_SECONDS, abs=2)
    world.loads = False
    world.wish("restart")
    world.until("starting", 30)
    assert (world.conductor.picture()["failures"], world.conductor.picture().get("failed_for")) == (0, None)
    world.until("ending", 130)
    world.until("starting", 30)
    picture = world.conductor.picture()
    assert (picture["failures"], picture["failed_for"]) == (1, "no completion within 60 s")
    world.loads = True
    world.until("serving")
    world.pass_time(15)
    assert "failed_for" not in world.conductor.picture(), "a lasting service is a new beginning"


def test_an_incident_says_who_died_first_and_what_each_host_knows(world: World) -> None:
    world.hosts[WORKER].die("ray")
    world.until("ending")
    world.until("serving")
    record = json.loads((world.path / "state/incidents.jsonl").read_text().splitlines()[-1])
    assert record["life"] == f"{G1}.1"
    first = record["first"]
    assert (first["host"], first["part"], first["how"]) == (WORKER, "ray", "status 137, exit-code")
    assert set(record["evidence"]) == set(NAMES)


def test_metrics_tell_phase_life_and_budget(world: World) -> None:
    world.pass_time(2)
    text = (world.path / "state/metrics/gx10_gang.prom").read_text()
    assert 'gx10_gang_phase{cluster="four",phase="serving"} 1' in text
    assert f'gx10_gang_life_info{{cluster="four",generation="{G1}",life="1"}} 1' in text
    assert 'gx10_gang_attempts_allowed{cluster="four"} 3' in text


def test_a_host_that_boots_anew_never_starts_a_rank_of_the_life_it_lost(world: World) -> None:
    world.power_off(WORKER)
    world.power_on(WORKER)
    before = len(world.starts)
    world.until("gathering")
    assert world.starts[before:] == []
    world.until("serving")
    assert world.life == f"{G1}.2"


@pytest.mark.parametrize(("moves", "misses"), [(True, 0), (False, 1)], ids=["busy", "still"])
def test_a_late_completion_is_a_miss_only_while_the_counters_stand_still(
    world: World, moves: bool, misses: int
) -> None:
    liveness = world.liveness
    liveness.look()
    liveness.canary, liveness.asked_at = {}, world.now  # asked, and not answered yet
    for _ in range(11):
        world.now += 1
        world.api.tokens += moves
        liveness.look()
    assert liveness.misses == misses

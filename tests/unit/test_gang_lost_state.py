"""What the gang does where its own files cannot be written, are lost, or no longer hold what was kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gx10_host.gang.kept import Files
from gx10_host.wire import Generation

from .gang_world import CONFIG, G1, G2, G3, NAMES, World

HEAD, WORKER = NAMES[0], NAMES[2]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A gang that serves."""
    made = World(tmp_path)
    made.until("serving")
    return made


@pytest.fixture
def full(world: World) -> World:
    """The same, with a head whose disk takes nothing of what outlives a boot any more."""
    place = world.path / "state/past.json"
    place.unlink()
    (place / "in the way").mkdir(parents=True)  # As a full disk does, for whoever the test runs as.
    return world


def relieve(world: World) -> None:
    (world.path / "state/past.json/in the way").rmdir()


def told(world: World, words: str) -> int:
    return sum(words in line for line in world.told)


def test_a_life_that_died_is_ended_and_counted_once_while_the_disk_is_full(full: World) -> None:
    full.hosts[WORKER].die("ray")
    full.pass_time(10)
    assert full.conductor.past.restarts == 1
    assert not any(host.processes for host in full.hosts.values())
    assert full.phase == "gathering", "a life that could bear the name of this one does not begin"
    full.pass_time(30)
    assert full.conductor.past.restarts == 1
    assert told(full, "what outlives a boot cannot be written") == 1
    relieve(full)
    full.until("serving")
    assert full.life == f"{G1}.2"
    assert json.loads((full.path / "state/past.json").read_text())["restarts"] == 1
    assert told(full, "can be written again") == 1


def test_a_stop_is_obeyed_while_the_disk_is_full(full: World) -> None:
    full.wish("stop")
    full.until("stopped")
    full.pass_time(10)
    assert not any(host.processes for host in full.hosts.values())
    relieve(full)
    full.pass_time(1)
    assert json.loads((full.path / "state/past.json").read_text())["stopped"] is True


def test_a_service_that_lasts_renews_the_budget_while_the_disk_is_full(full: World) -> None:
    full.conductor.past.failures = (1.0,)
    full.pass_time(30)
    assert (full.phase, full.conductor.past.failures) == ("serving", ())


def test_the_next_life_has_a_number_of_its_own_though_the_head_forgot_the_last(world: World) -> None:
    world.hosts[WORKER].die("ray")
    world.until("ending")
    world.until("serving")
    assert world.life == f"{G1}.2"
    world.power_off(HEAD)
    (world.path / "state/past.json").write_bytes(b"{")
    world.pass_time(30)
    world.power_on(HEAD)
    world.until("serving")
    assert world.life == f"{G1}.3"


def failing(world: World) -> None:
    """Let a deployed generation fail until the last one that served is to be put back."""
    world.pass_time(15)
    for name in NAMES:
        world.describe(name, G2)
    world.loads = False
    world.wish("restart")
    while world.conductor.past.rolled_back is None:
        world.pass_time(0.5)


def test_a_deploy_after_a_generation_was_to_be_put_back_is_not_undone(world: World) -> None:
    failing(world)
    for name in NAMES:
        world.describe(name, G3)
    world.loads = True
    world.until("serving")
    assert world.life.startswith(G3)
    assert {str(agent.files.described()) for agent in world.agents.values()} == {G3}
    assert world.conductor.now.restore is None


def test_a_host_that_cannot_put_a_generation_back_is_named_and_tried_again_now_and_then(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []
    monkeypatch.setattr(world.agents[WORKER].files, "restore", lambda _: attempts.append(world.now))
    failing(world)
    world.pass_time(70)
    assert world.conductor.now.waiting == (f"{WORKER} has not put generation {G1} back yet",)
    assert 2 <= len(attempts) <= 4
    monkeypatch.undo()
    world.loads = True
    world.until("serving")
    assert world.life.startswith(G1)


PATHS = ["/etc/unit", "/etc/gx10/generation.env"]


def files_of(path: Path, paths: list[str] | None = None) -> Files:
    return Files({**CONFIG, "host": HEAD, "files": paths or PATHS}, path, path / "kept")


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A root whose generation G1 was kept, and G2 deployed since."""
    for generation in (G1, G2):
        (tmp_path / "etc/gx10").mkdir(parents=True, exist_ok=True)
        (tmp_path / "etc/unit").write_text(f"unit of {generation}")
        (tmp_path / "etc/gx10/generation.env").write_text(f"GX10_GENERATION={generation}\n")
        if generation == G1:
            assert files_of(tmp_path).keep(Generation(G1))
    return tmp_path


def described(root: Path) -> tuple[str, str]:
    return str(files_of(root).described()), (root / "etc/unit").read_text()


def test_a_kept_file_that_was_damaged_is_never_put_back(kept: Path) -> None:
    files = files_of(kept)
    assert files.kept() == Generation(G1)
    (kept / "kept/0").write_text("half")
    assert not files.restore(Generation(G1)), "also where it was whole when it was looked at first"
    assert files_of(kept).kept() is None
    assert described(kept) == (G2, f"unit of {G2}")


def test_what_is_no_file_of_the_gang_is_never_put_back(kept: Path) -> None:
    assert files_of(kept, ["/etc/gx10/generation.env"]).kept() is None
    assert not files_of(kept, ["/etc/gx10/generation.env"]).restore(Generation(G1))
    assert described(kept) == (G2, f"unit of {G2}")


def test_what_does_not_name_its_generation_is_never_put_back(kept: Path) -> None:
    path = kept / "kept/kept.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "paths": told["paths"][:1], "digests": told["digests"][:1]}))
    assert files_of(kept).kept() is None
    assert not files_of(kept).restore(Generation(G1)), "or it would be put back for ever"


def test_a_power_cut_while_another_generation_is_kept_loses_neither(kept: Path) -> None:
    (kept / "kept").rename(kept / "kept.before")
    assert files_of(kept).kept() == Generation(G1)
    assert files_of(kept).keep(Generation(G2))
    assert files_of(kept).kept() == Generation(G2)
    assert not (kept / "kept.before").exists()


def test_the_file_that_names_the_generation_is_put_back_last(kept: Path) -> None:
    (kept / "etc/unit").unlink()
    (kept / "etc/unit/full").mkdir(parents=True)  # Cannot be replaced.
    with pytest.raises(OSError, match="not empty"):
        files_of(kept).restore(Generation(G1))
    assert str(files_of(kept).described()) == G2


def test_what_cannot_be_put_back_is_looked_at_once(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (kept / "kept/0").write_text("half")
    files, looked = files_of(kept), []
    whole = Files._can_run
    monkeypatch.setattr(Files, "_can_run", lambda self, known: looked.append(1) or whole(self, known))
    assert [files.kept() for _ in range(20)] == [None] * 20
    assert len(looked) == 1

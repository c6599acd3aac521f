"""What a role leaves behind when it moves is removed: exactly that, and never what serves or is somebody else's."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gx10.described import gang_files, watch_files
from gx10.described.description import Description, describe
from gx10.described.host_files import UNITS
from gx10.described.placed import entries as entries_of
from gx10.described.placed import of_gang, of_reconciler, on_host
from gx10.described.roles import Family, Remains, gang_remains, reconciler_remains, removed_paths
from gx10.drift.classes import ACTED_ON, Drift
from gx10.operations import remains
from gx10.operations.loop.declared import DECLARED
from gx10.probes import probe_words, writer_words

from .host_side import command_on_path, elsewhere

DESCRIBED = describe("lab")
HOSTS = tuple(DESCRIBED.cluster.hosts)


def moved(head: str, node: str | None = None, *, enabled: bool = True) -> Description:
    """The same cluster with other roles."""
    cluster = DESCRIBED.cluster
    reconcile = cluster.reconcile.model_copy(update={"node": node, "enabled": enabled})
    changed = cluster.model_copy(update={"head": head, "reconcile": reconcile})
    loaded = replace(DESCRIBED.loaded, cluster=changed)
    return replace(DESCRIBED, checked=replace(DESCRIBED.checked, loaded=loaded))


def described_paths(description: Description, name: str) -> set[str]:
    entries = entries_of([*on_host(description, name), *of_gang(description, name), *of_reconciler(description, name)])
    own = {gang_files.GENERATION_FILE, *gang_files.supervisor_drop_ins(description.cluster, name)}
    if name == watch_files.node(description) and description.cluster.reconcile.enabled:
        own |= {watch_files.environment(description)[0], watch_files.PROJECT, watch_files.KNOWN_HOSTS}
    return {*(entry.path for entry in entries), *own}


def listed(told: Remains, there: set[str]) -> set[str]:
    """Paths out of `there` that a removal would take."""
    import re  # noqa: PLC0415 - only here

    named = {*told.files, *told.trees, *(f"{UNITS}/{unit}" for unit in told.units)}
    for family in told.families:
        named |= {
            path
            for path in there
            if path.rpartition("/")[0] == family.directory
            and re.fullmatch(family.pattern, path.rpartition("/")[2])
            and path.rpartition("/")[2] not in family.kept
        }
    return named & there


SITUATIONS = [moved(head, node) for head in HOSTS[:2] for node in (None, HOSTS[1], HOSTS[2])]
SITUATIONS += [moved(HOSTS[0], enabled=False)]


@pytest.mark.parametrize("description", SITUATIONS)
def test_nothing_that_is_described_for_a_host_is_ever_removed_from_it(description: Description) -> None:
    for name in HOSTS:
        there = described_paths(description, name)
        for told in (gang_remains(description, name), reconciler_remains(description, name)):
            assert listed(told, there) == set()
            assert not {*told.units} & {
                *gang_files.gang_units(description.cluster, name),
                "gx10-share.service",
                "gx10-firewall.service",
            }


@pytest.mark.parametrize("before", SITUATIONS)
@pytest.mark.parametrize("after", SITUATIONS)
def test_whatever_was_described_for_a_host_before_and_is_not_now_is_removed(
    before: Description, after: Description
) -> None:
    for name in HOSTS:
        behind = described_paths(before, name) - described_paths(after, name)
        behind = {path for path in behind if path not in {"/opt/gx10", "/opt/gx10/bin"}}  # When nothing is in them.
        told = (gang_remains(after, name), reconciler_remains(after, name))
        assert listed(told[0], behind) | listed(told[1], behind) == behind


def test_a_shorter_ladder_and_another_lock_leave_files_that_go() -> None:
    head = HOSTS[0]
    rungs = len(DESCRIBED.checked.fallbacks)
    beyond = gang_files.fallback_path(rungs + 1)
    assert listed(gang_remains(DESCRIBED, head), {gang_files.fallback_path(rungs), beyond}) == {beyond}
    older = f"{watch_files.ROOT}/env-0123456789ab"
    own = watch_files.environment(DESCRIBED)[0]
    assert listed(reconciler_remains(DESCRIBED, head), {older, own, f"{watch_files.ROOT}/env-mine"}) == {older}


def test_what_a_removal_names_is_not_told_twice_as_somebody_elses() -> None:
    description = moved(HOSTS[1])
    behind = described_paths(DESCRIBED, HOSTS[0]) - described_paths(description, HOSTS[0])
    assert {path for path in behind if path.startswith("/etc/gx10/")} <= removed_paths(description, HOSTS[0])


# On a host


class HostWorld:
    """A directory that stands for a host's file system, with the commands that a removal calls."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.units, self.log = self.root / "units", self.root.parent / "log"
        self.units.mkdir(parents=True)
        self.user = "gx10-nobody-has-this-name"

    def file(self, name: str, text: str = "x") -> str:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    def env(self, states: str = "") -> dict[str, str]:
        """systemctl says `states` for show, and notes the rest; so does userdel."""
        note = f"import sys; open({str(self.log)!r}, 'a').write(' '.join(['NAME', *sys.argv[1:]]) + '\\n')\n"
        show = f"import sys\nif sys.argv[1] == 'show': print({states!r}); sys.exit()\n"
        command_on_path(self.root.parent / "bin", "userdel", note.replace("NAME", "userdel"))
        return command_on_path(self.root.parent / "bin", "systemctl", show + note.replace("NAME", "systemctl"))

    def ask(self, told: Remains, states: str = "") -> dict[str, Any]:
        words = elsewhere(probe_words("remains", told.question()), "probes.remains", UNITS=str(self.units))
        done = subprocess.run(
            [sys.executable, *words], capture_output=True, text=True, timeout=60, check=False,
            env={**os.environ, **self.env(states)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def remove(self, going: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        words = elsewhere(writer_words("away"), "write.away", UNITS=str(self.units))
        return subprocess.run(
            [sys.executable, *words], input=json.dumps(going), capture_output=True, text=True, timeout=60,
            check=False, env={**os.environ, **self.env()},
        )  # fmt: skip

    def commands(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def world(tmp_path: Path) -> HostWorld:
    return HostWorld(tmp_path / "root")


def state(unit: str, active: str = "inactive", enabled: str = "enabled") -> str:
    return f"Id={unit}\nActiveState={active}\nUnitFileState={enabled}\nFragmentPath=\n"


def test_what_stands_goes_and_what_somebody_added_beside_it_stays(world: HostWorld) -> None:
    mine = world.file("opt/project/mine.py")
    added = world.file("opt/added")
    fallback, other = world.file("etc/fallback-3.conf"), world.file("etc/fallback-x.conf")
    kept = world.file("etc/fallback-1.conf")
    world.file("units/gx10-x.timer")
    told = Remains(
        units=("gx10-x.timer",),
        files=(str(world.root / "absent"),),
        families=(Family(f"{world.root}/etc", r"fallback-[1-9][0-9]?\.conf", "file", ("fallback-1.conf",)),),
        trees=(f"{world.root}/opt/project",),
        directories=(f"{world.root}/opt", f"{world.root}/etc"),
    )
    answer = world.ask(told, state("gx10-x.timer", "active"))
    assert answer["files"] == [fallback]
    assert answer["directories"] == [], "something else is in both"
    done = world.remove(answer)
    assert done.returncode == 0, done.stderr
    left = {str(path) for path in world.root.rglob("*") if path.is_file()}
    assert left == {added, other, kept}
    assert not Path(mine).parent.exists()
    disabled = next(number for number, line in enumerate(world.commands()) if "disable --now" in line)
    reloaded = next(number for number, line in enumerate(world.commands()) if "daemon-reload" in line)
    assert disabled < reloaded
    again = world.ask(told, state("gx10-x.timer"))
    assert {key: value for key, value in again.items() if value} == {}


def test_a_directory_goes_when_all_that_was_in_it_goes(world: HostWorld) -> None:
    world.file("opt/bin/gx10")
    told = Remains(files=(f"{world.root}/opt/bin/gx10",), directories=(f"{world.root}/opt/bin", f"{world.root}/opt"))
    answer = world.ask(told)
    assert answer["directories"] == [f"{world.root}/opt/bin", f"{world.root}/opt"]
    assert world.remove(answer).returncode == 0
    assert not (world.root / "opt").exists()


def test_links_and_what_lies_below_them_and_a_unit_of_somebody_elses_are_told_and_stay(world: HostWorld) -> None:
    outside = world.root.parent / "outside"
    outside.mkdir()
    (outside / "file").write_text("precious")
    (world.root / "link").symlink_to(outside)
    (world.root / "env-0123456789ab").symlink_to(outside)
    world.file("units/vllm-engine.service", "[Service]\nExecStart=/home/ada/serve\n")
    (world.units / "ray-head.service").symlink_to("/dev/null")
    told = Remains(
        units=("vllm-engine.service", "ray-head.service"),
        files=(f"{world.root}/link/file",),
        trees=(f"{world.root}/link",),
        families=(Family(str(world.root), "env-[0-9a-f]{12}", "directory"),),
    )
    answer = world.ask(told, state("vllm-engine.service", "active") + "\n" + state("ray-head.service"))
    assert not any(answer[key] for key in ("units", "files", "trees", "directories"))
    assert len(answer["others"]) == 5
    going = {**answer, "files": [f"{world.root}/link/file"]}
    assert world.remove(going).returncode == 1, "also where a link was put there meanwhile"
    going = {**answer, "trees": [f"{world.root}/link"]}
    assert "no directory any more" in world.remove(going).stderr
    assert (outside / "file").read_text() == "precious"


def test_a_unit_of_the_gang_is_known_by_what_it_runs(world: HostWorld) -> None:
    for file in gang_files.gang_files(DESCRIBED, HOSTS[0]):
        if file.path.startswith(f"{UNITS}/"):
            world.file(f"units/{file.path.rpartition('/')[2]}", file.content.decode())
    units = ("vllm-engine.service", "ray-head.service")
    answer = world.ask(Remains(units=units), "\n".join(map(state, units)))
    assert set(answer["units"]) == set(units)


def test_a_user_that_is_not_the_one_this_package_made_stays_with_its_home(world: HostWorld) -> None:
    me = pwd.getpwuid(os.getuid())
    home = world.file("home/file").rpartition("/")[0]
    answer = world.ask(Remains(user=me.pw_name, home=home))
    assert (answer["user"], answer["home"], len(answer["others"])) == ("", "", 1)
    gone = world.ask(Remains(user=world.user, home=home))
    assert (gone["user"], gone["home"]) == ("", home), "its user is gone already"
    assert world.remove({**gone, "user": world.user}).returncode == 0
    assert f"userdel -- {world.user}" in world.commands()
    assert not Path(home).exists()


# The operation

FOUND: dict[str, Any] = {
    "units": {"ray-head.service": {"active": "inactive", "enabled": "static"}},
    "files": ["/etc/gx10/engine.env", "/run/systemd/system/ray-head.service.d/50-life.conf"],
    "trees": [], "directories": ["/run/systemd/system/ray-head.service.d"], "user": "", "home": "", "others": {},
}  # fmt: skip


class Looking:
    """One look of the operation at one host."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, found: dict[str, Any], *, executing: bool = True) -> None:
        self.found: list[tuple[str, Drift]] = []
        self.held: set[str] = set()
        self.answer = {**FOUND, **found}
        host = SimpleNamespace(name=HOSTS[0], noop=lambda _: None, state=SimpleNamespace(is_executing=executing))
        monkeypatch.setattr(remains, "ask", lambda *_, **__: self.answer)
        monkeypatch.setattr(remains, "drifted", self.drifted)
        monkeypatch.setattr(remains, "host", host)

    def drifted(self, subject: str, found: object = "", described: object = "", *, drift: Drift | None = None) -> bool:
        kind = drift or DECLARED["remains.role_left"].drift
        self.found.append((subject, kind))
        return kind in ACTED_ON and subject not in self.held

    def look(self, drift: Drift | None) -> list[dict[str, Any]]:
        body: Any = remains.role_left
        commands = body._inner.__wrapped__(remains=gang_remains(DESCRIBED, HOSTS[1]), drift=drift)
        return [json.loads(command.connector_arguments["_stdin"]) for command in commands]


def test_each_thing_is_named_and_one_command_removes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    looking = Looking(monkeypatch, {})
    (going,) = looking.look(Drift.GANG)
    assert going["units"] == ["ray-head.service"]
    assert going["files"] == FOUND["files"]
    assert set(looking.found) == {(name, Drift.GANG) for name in [*FOUND["units"], *FOUND["files"]]}


def test_nothing_left_is_in_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    looking = Looking(monkeypatch, {"units": {}, "files": [], "directories": []})
    assert (looking.look(None), looking.found) == ([], [])


@pytest.mark.parametrize("active", ["active", "activating", "deactivating"])
def test_a_rank_or_engine_that_still_runs_is_never_ended_by_a_clean_up(
    monkeypatch: pytest.MonkeyPatch, active: str
) -> None:
    running = {"units": {"ray-head.service": {"active": active, "enabled": "static"}}}
    looking = Looking(monkeypatch, running)
    (going,) = looking.look(Drift.GANG)
    assert (going["units"], going["files"], going["directories"]) == ([], ["/etc/gx10/engine.env"], [])
    assert ("ray-head.service", Drift.REPORT) in looking.found
    # A plan before the restart predicts what is removed after it.
    (predicted,) = Looking(monkeypatch, running, executing=False).look(Drift.GANG)
    assert predicted["units"] == ["ray-head.service"]


def test_a_timer_that_still_runs_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    running = {"units": {watch_files.TIMER: {"active": "active", "enabled": "enabled"}}}
    (going,) = Looking(monkeypatch, running).look(None)
    assert going["units"] == [watch_files.TIMER]


def test_what_an_ignore_rule_names_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    looking = Looking(monkeypatch, {})
    looking.held = {"ray-head.service", *FOUND["files"]}
    assert [going for going in looking.look(Drift.GANG) if going["units"] or going["files"]] == []

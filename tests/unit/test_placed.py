"""What is said to be placed on a host is what the tasks hand to operations: no more, no less."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

import pytest

import tasks.applied
import tasks.host
import tasks.live
import tasks.ray
import tasks.watch
from gx10.described import host_files, watch_files
from gx10.described.description import describe
from gx10.described.entries import Directory, File
from gx10.described.live import OWNED, live_question
from gx10.described.placed import Kind, Placed, links, placed, unit_names
from gx10.drift.classes import Drift
from gx10.facts import FileStates, SystemState
from gx10.operations.handed import questions as asked_first

DESCRIBED = describe("lab")
HOSTS = list(DESCRIBED.cluster.hosts)
PHASES = (tasks.host, tasks.ray, tasks.watch, tasks.live, tasks.applied)


class Handed:
    """What tasks hand to operations on one host."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        for phase in PHASES:
            monkeypatch.setattr(phase, "host", types.SimpleNamespace(name=host))
            for name, operation in list(vars(phase).items()):
                if getattr(operation, "_inner", None) and operation.__module__.startswith("gx10.operations"):
                    monkeypatch.setattr(phase, name, self.recorder(name))
        for run in (
            tasks.host.host_tuned, tasks.ray.ray, tasks.watch.watch, tasks.live.live, tasks.applied.applied
        ):  # fmt: skip
            run._inner(DESCRIBED)  # type: ignore[attr-defined]

    def recorder(self, operation: str) -> Any:  # noqa: ANN401
        return lambda **arguments: self.calls.append((operation, arguments))

    def of(self, operation: str) -> Iterator[dict[str, Any]]:
        return (arguments for name, arguments in self.calls if name == operation)

    @property
    def entries(self) -> Iterator[tuple[File | Directory, Drift]]:
        for arguments in self.of("files_described"):
            for entry in arguments["entries"]:
                yield entry, arguments.get("drift") or Drift.HEAL


def of_kind(host: str, *kinds: Kind) -> list[Placed]:
    return [entry for entry in placed(DESCRIBED, host) if entry.kind in kinds]


def by_description(host: str) -> set[tuple[Any, ...]]:
    """Files and directories whose content the description holds; the project's are handed as one."""
    return {
        (entry.kind, entry.name, entry.content, entry.mode, entry.drift)
        for entry in of_kind(host, Kind.FILE, Kind.DIRECTORY)
        if (entry.content is not None or entry.kind is Kind.DIRECTORY)
        and not entry.name.startswith(f"{watch_files.PROJECT}/")
    }


@pytest.mark.parametrize("host", HOSTS)
def test_files_and_directories_are_those_that_operations_write(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    handed = Handed(monkeypatch, host)
    wrote = {
        (entry.kind, entry.path, getattr(entry, "content", None), entry.mode, drift) for entry, drift in handed.entries
    }
    assert by_description(host) == wrote
    assert {(entry.user, entry.group) for entry, _ in handed.entries} == {("root", "root")}


@pytest.mark.parametrize("host", HOSTS)
def test_whatever_else_operations_are_handed_is_placed(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    handed = Handed(monkeypatch, host)
    names = {entry.name for entry in placed(DESCRIBED, host)}
    (parameters,) = handed.of("sysctls_live")
    assert {entry.name: entry.value for entry in of_kind(host, Kind.PARAMETER)} == {
        name: str(value) for name, value in parameters["sysctls"].items()
    }
    (block,) = handed.of("block_leads_file")
    assert [(entry.name, entry.value.splitlines()) for entry in of_kind(host, Kind.BLOCK)] == [
        (block["path"], list(block["lines"]))
    ]
    (packages,) = handed.of("packages_present")
    assert [entry.name for entry in of_kind(host, Kind.PACKAGE)] == list(packages["packages"])
    (target,) = handed.of("default_target_is")
    assert [entry.name for entry in of_kind(host, Kind.TARGET)] == [target["target"]]
    enabled = {unit for arguments in handed.of("units_enabled") for unit in arguments["units"]}
    assert {entry.name for entry in of_kind(host, Kind.UNIT, Kind.TIMER) if entry.enabled} == enabled
    (recorded,) = handed.of("daemon_recorded")
    assert recorded["path"] in names
    if host == watch_files.node(DESCRIBED):
        (project,) = handed.of("project_deployed")
        assert {f"{watch_files.PROJECT}/{name}" for name in project["files"]} <= names
        (known,) = handed.of("hosts_known")
        (user,) = handed.of("reconciler_user")
        assert {known["path"], user["watch"]["user"], user["watch"]["key"], user["watch"]["environment"]} <= names


@pytest.mark.parametrize("host", HOSTS)
def test_every_unit_has_its_text_and_every_text_its_unit(host: str) -> None:
    texts = {entry.name for entry in of_kind(host, Kind.FILE) if entry.name.startswith(f"{host_files.UNITS}/")}
    assert texts == {f"{host_files.UNITS}/{unit}" for unit in unit_names(DESCRIBED, host)}
    assert [entry.name for entry in of_kind(host, Kind.UNIT, Kind.TIMER)] == list(unit_names(DESCRIBED, host))


@pytest.mark.parametrize("host", HOSTS)
def test_everything_placed_is_asked_about_in_one_survey(host: str) -> None:
    questions = asked_first(DESCRIBED, host)
    paths = {path for fact, asked in questions if fact is FileStates for path in asked["paths"]}
    units = {unit for fact, asked in questions if fact is SystemState for unit in asked["units"]}
    files = {
        entry.name
        for entry in of_kind(host, Kind.FILE, Kind.DIRECTORY)
        if not entry.name.startswith(f"{watch_files.PROJECT}/")
    }
    assert files <= paths
    assert set(unit_names(DESCRIBED, host)) <= units
    assert live_question(DESCRIBED, host)["units"] == list(unit_names(DESCRIBED, host))


@pytest.mark.parametrize("host", HOSTS)
def test_the_night_knows_what_belongs_into_owned_directories(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    (looked,) = Handed(monkeypatch, host).of("nothing_added")
    owned = {entry.name for entry in placed(DESCRIBED, host) if entry.name.startswith(OWNED)}
    assert owned <= set(looked["known"])
    assert set(links(placed(DESCRIBED, host))) <= set(looked["known"])


def test_names_are_unique_among_their_kind() -> None:
    for host in HOSTS:
        objects = [(entry.kind, entry.name) for entry in placed(DESCRIBED, host)]
        assert len(objects) == len(set(objects))
    assert {entry.kind for host in HOSTS for entry in placed(DESCRIBED, host)} == set(Kind) - {Kind.GROUP}

"""What somebody puts into the reconciler's project or environment is found, and goes."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gx10_host.night.environment import tree

from gx10.described import project as described
from gx10.operations import watch

from .test_probes import ask

ROOT = "/opt/gx10/project"
ASKED = {"project": ROOT, "restored": "/opt/gx10/restored.json"}
FILES = {"gx10/cli.py": b"cli", "deploy.py": b"deploy"}


def looked_at(root: Path) -> dict[str, Any]:
    """What the probe tells of a project."""
    me = pwd.getpwuid(os.getuid()).pw_name
    asked = {
        "user": me,
        "key": str(root / "none"),
        "login": me,
        "comment": "x",
        "environment": "",
        "project": str(root),
    }
    told: Any = ask("watch", asked)
    project: dict[str, Any] = told["project"]
    return project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project as it is deployed."""
    root = tmp_path / "project"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text)
        (root / name).chmod(0o644)
    for directory in (root, root / "gx10"):
        directory.chmod(0o755)
    return root


class Deploy:
    """`project_deployed` on a host that answers with a project."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, found: dict[str, Any], restored: dict[str, str] | None = None
    ) -> None:
        self.subjects: list[str] = []
        monkeypatch.setattr(watch, "ask", lambda *_, **__: {"project": found, "restored": restored or {}})
        monkeypatch.setattr(watch, "elsewhere", lambda _: False)
        monkeypatch.setattr(watch, "host", SimpleNamespace(name="gx10-1", noop=lambda _: None))
        monkeypatch.setattr(watch, "drifted", lambda subject, *_, **__: self.subjects.append(subject) or True)
        body = watch.project_deployed._inner.__wrapped__  # type: ignore[attr-defined]
        self.commands = [str(command) for command in body(watch=ASKED, node="gx10-1", files=FILES, restore=["restore"])]


def as_root(found: dict[str, Any]) -> dict[str, Any]:
    return {name: [*told[:2], 0] for name, told in found.items()}


def test_a_project_as_deployed_is_left_alone(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    deploy = Deploy(monkeypatch, as_root(looked_at(project)))
    assert (deploy.subjects, deploy.commands) == ([], [])


PLANTS: dict[str, Callable[[Path], object]] = {
    "gx10/__pycache__": lambda root: ((root / "gx10/__pycache__").mkdir(), (root / "gx10/__pycache__/c.pyc").touch()),
    ".pytest_cache": lambda root: (root / ".pytest_cache").mkdir(),
    "gx10/cli.so": lambda root: (root / "gx10/cli.so").touch(),
    "gx10/cli": lambda root: ((root / "gx10/cli").mkdir(), (root / "gx10/cli/__init__.py").touch()),
    "gx10/yaml": lambda root: (root / "gx10/yaml").symlink_to("/tmp"),  # noqa: S108
}


@pytest.mark.parametrize("name", PLANTS)
def test_whatever_does_not_belong_is_told_once_and_taken_away(
    monkeypatch: pytest.MonkeyPatch, project: Path, name: str
) -> None:
    PLANTS[name](project)
    deploy = Deploy(monkeypatch, as_root(looked_at(project)))
    assert deploy.subjects == [f"{ROOT}/{name}"]
    assert deploy.commands == ["restore"]


def test_a_directory_that_others_may_write_is_closed(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    (project / "gx10").chmod(0o777)
    deploy = Deploy(monkeypatch, as_root(looked_at(project)))
    assert (deploy.subjects, deploy.commands) == ([f"{ROOT}/gx10"], ["restore"])


@pytest.mark.parametrize("name", ["gx10", "."])
def test_a_link_in_a_directorys_place_is_told(monkeypatch: pytest.MonkeyPatch, project: Path, name: str) -> None:
    (project / name).resolve().rename(project.parent / "moved")
    where = project if name == "." else project / name
    where.symlink_to(project.parent / "moved")
    deploy = Deploy(monkeypatch, as_root(looked_at(project)))
    assert (ROOT if name == "." else f"{ROOT}/{name}") in deploy.subjects
    assert deploy.commands == ["restore"]


def test_what_was_put_back_before_the_run_is_told_by_it_and_then_forgotten(
    monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    deploy = Deploy(monkeypatch, as_root(looked_at(project)), {f"{ROOT}/deploy.py": "absent"})
    assert deploy.subjects == [f"{ROOT}/deploy.py"]
    assert deploy.commands == ["rm -f -- /opt/gx10/restored.json"]


def test_what_running_leaves_behind_is_described_by_nobody(tmp_path: Path) -> None:
    made = ("__pycache__/a.pyc", "a.pyc", "a.so", ".pytest_cache/b", ".mypy_cache/c/d")
    for name in ("a.py", *made):
        (tmp_path / "gx10" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "gx10" / name).touch()
    assert set(described._names(tmp_path)) == {*described.FILES, "gx10/a.py"}


# The environment

CHANGES: dict[str, Callable[[Path], object]] = {
    "a file": lambda root: (root / "lib/a.py").write_text("other"),
    "byte code": lambda root: (root / "lib/__pycache__/a.pyc").write_text("other"),
    "more byte code": lambda root: (root / "lib/__pycache__/b.pyc").touch(),
    "an empty package": lambda root: (root / "lib/b").mkdir(),
    "a link to a directory": lambda root: (root / "lib/b").symlink_to("/tmp"),  # noqa: S108
    "a link led elsewhere": lambda root: ((root / "bin").unlink(), (root / "bin").symlink_to("/sbin")),
    "a directory opened": lambda root: (root / "lib").chmod(0o777),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_is_touched_in_an_environment_changes_its_tree(tmp_path: Path, change: str) -> None:
    root = tmp_path / "env"
    (root / "lib/__pycache__").mkdir(parents=True)
    for name in ("lib/a.py", "lib/__pycache__/a.pyc"):
        (root / name).write_text("text")
    (root / "bin").symlink_to("/bin")
    sealed = tree(root)
    assert tree(root) == sealed
    CHANGES[change](root)
    assert tree(root) != sealed

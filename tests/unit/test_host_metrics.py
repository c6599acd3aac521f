"""Metrics come to node_exporter's directory as root, and no name that somebody else owns leads root anywhere."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from .host_side import refused, run

ME = pwd.getpwuid(os.getuid()).pw_name


def give(tmp_path: Path, user: str = ME):  # noqa: ANN201 - subprocess's own
    words = ["--from", tmp_path / "state/gx10.prom", "--user", user, "--to", tmp_path / "metrics"]
    return run("metrics", *words)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/gx10.prom").write_text("gx10_run_status 1\n")
    return tmp_path / "state/gx10.prom"


def test_they_are_written_whole_and_everybody_may_read_them(tmp_path: Path, state: Path) -> None:
    for _ in range(2):
        assert give(tmp_path).returncode == 0
    (found,) = (tmp_path / "metrics").iterdir()
    assert (found.read_text(), found.stat().st_mode & 0o777) == (state.read_text(), 0o644)


def test_a_link_in_the_place_of_what_was_written_is_not_read(tmp_path: Path, state: Path) -> None:
    (tmp_path / "secret").write_text("root's")
    state.unlink()
    state.symlink_to(tmp_path / "secret")
    refused(give(tmp_path), "could not be given")
    assert not list(tmp_path.glob("metrics/*"))


def test_what_is_somebody_elses_is_not_read(tmp_path: Path, state: Path) -> None:
    refused(give(tmp_path, "nobody"), "is no plain file of nobody's own")
    state.unlink()
    os.mkfifo(state)
    refused(give(tmp_path), "no plain file")


@pytest.mark.parametrize("place", ["directory", "file", "partial"])
def test_a_link_where_they_go_leads_nowhere(tmp_path: Path, state: Path, place: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (elsewhere / "gx10.prom").write_text("root's")
    (elsewhere / "gx10.prom").chmod(0o600)
    if place == "directory":
        (tmp_path / "metrics").symlink_to(elsewhere)
        refused(give(tmp_path), "could not be given")
    else:
        (tmp_path / "metrics").mkdir()
        name = "gx10.prom" if place == "file" else ".gx10.prom.partial"
        (tmp_path / "metrics" / name).symlink_to(elsewhere / "gx10.prom")
        assert give(tmp_path).returncode == 0
        assert not (tmp_path / "metrics/gx10.prom").is_symlink()
    assert ((elsewhere / "gx10.prom").read_text(), (elsewhere / "gx10.prom").stat().st_mode & 0o777) == (
        "root's",
        0o600,
    )

"""What people type and what their environment holds, where neither is what `gx10` needs: one sentence, no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from gx10.settings import SettingsError, load
from gx10.settings.load import LONGEST_NAME

COMMAND = Path(sys.executable).with_name("gx10")


def run(*words: str, **environment: str) -> tuple[int, str]:
    """Status and everything said."""
    done = subprocess.run(
        [COMMAND, *words], env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one cluster file."""
    (tmp_path / "clusters").mkdir()
    (tmp_path / "clusters/four.yaml").write_text("name: four\n")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("a" * 5000, f"of 5000 letters, but a name has at most {LONGEST_NAME}. Choose one of: four."),
        ("four.yaml", "clusters/four.yaml.yaml does not exist. Write 'four': the name alone."),
        ("five", "clusters/five.yaml does not exist. Choose one of: four."),
        ("../clusters/four", "Choose one of: four."),
        ("directory", "clusters/directory.yaml is a directory. Choose one of: four."),
    ],
    ids=["long", "with its ending", "absent", "a path", "a directory"],
)
def test_a_name_that_is_no_clusters_is_one_sentence(project: Path, name: str, says: str) -> None:
    (project / "clusters/directory.yaml").mkdir()
    with pytest.raises(SettingsError) as refused:
        load(name, project)
    (sentence,) = str(refused.value).splitlines()
    assert says in sentence
    assert len(sentence) < 500


def test_a_long_name_is_refused_by_the_command_as_well() -> None:
    status, said = run("status", GX10_CLUSTER="a" * 5000)
    assert (status, "Traceback" in said) == (64, False), said[-300:]


@pytest.mark.parametrize("text", ["[" * 5000, "a: " * 5000, "{a: " * 3000])
def test_a_description_that_is_nested_without_end_is_one_sentence(project: Path, text: str) -> None:
    (project / "clusters/four.yaml").write_text(text)
    with pytest.raises(SettingsError) as refused:
        load("four", project)
    (sentence,) = str(refused.value).splitlines()
    assert sentence.startswith("clusters/four.yaml")


def test_a_place_for_what_is_kept_that_is_none_is_named() -> None:
    status, said = run("history", GX10_STATE="/dev/null/x", GX10_CLUSTER="lab")
    assert (status, "Traceback" in said) == (1, False), said
    assert "/dev/null/x" in said
    assert "GX10_STATE" in said


def test_a_directory_without_wheels_locks_nothing(tmp_path: Path) -> None:
    status, said = run("images", "lock", "--wheels", str(tmp_path))
    assert (status, f"{tmp_path}: found no wheel" in said, "up to date" in said) == (64, True, False), said


def test_the_command_says_its_version() -> None:
    assert run("--version") == (0, f"gx10 {version('gx10')}\n")

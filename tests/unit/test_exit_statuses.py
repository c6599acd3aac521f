"""What a program on a host came to travels as a number: nothing is read from its sentences."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from gx10_host.exits import DAMAGED
from pyinfra.api.command import StringCommand
from pyinfra.connectors.util import CommandOutput, OutputLine

from gx10.access import remote
from gx10.described.description import describe
from gx10.operations.loop.commands import exit_status, numbered

from .host_side import run as run_program


def test_damage_has_a_status_of_its_own_on_hosts_and_here(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m/a").write_bytes(b"x")
    done = run_program("content", "stage", "--source", tmp_path / "m", "--to", tmp_path / "to", "--name", "m")
    assert done.returncode == 0, done.stderr
    words = ["verify", "--manifest", tmp_path / "to/.gx10-manifest.json", "--in", tmp_path / "to", "--full"]
    assert run_program("content", *words).returncode == 0
    (tmp_path / "to/a").write_bytes(b"y")
    assert run_program("content", *words).returncode == DAMAGED
    words[2] = tmp_path / "none.json"
    assert run_program("content", *words).returncode == 1


@pytest.mark.parametrize(("status", "known"), [(0, 0), (1, 1), (DAMAGED, DAMAGED), (255, None)])
def test_an_answer_carries_the_status_of_its_command(
    monkeypatch: pytest.MonkeyPatch, status: int, known: int | None
) -> None:
    done = subprocess.CompletedProcess([], status, "out", "absent or damaged: a sentence that decides nothing")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    answer = remote.run(describe("lab"), "gx10-1", ["true"])
    assert (answer.status, answer.ok) == (known, status == 0)


@pytest.mark.parametrize("status", [0, 1, DAMAGED])
def test_a_numbered_command_says_its_status_last(status: int) -> None:
    words = StringCommand(*numbered(StringCommand("sh", "-c", f"'echo said >&2; exit {status}'")))
    done = subprocess.run(words.get_raw_value(), shell=True, capture_output=True, text=True, check=False)  # noqa: S602
    lines = CommandOutput([OutputLine("stderr", line) for line in done.stderr.splitlines()])
    assert (done.returncode, exit_status(lines)) == (status, status or None)

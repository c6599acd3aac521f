"""A refusal is read whole, and asking hosts takes nothing from what a person types next."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from gx10.access import remote
from gx10.operations.loop import commands


def test_a_refusal_says_every_sentence_before_it_ends_the_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    host: Any = SimpleNamespace(name="a", print_prefix="[a] ", state=SimpleNamespace(is_executing=True))
    monkeypatch.setattr(commands, "host", host)
    monkeypatch.setattr(commands, "logger", SimpleNamespace(error=lines.append))
    for command in commands.refuse("has no Docker.", "has no room:\nhost  need"):
        # pyinfra runs no further command of an operation after one that failed.
        done, _ = command.execute(host.state, host, {})  # type: ignore[union-attr]
        if not done:
            break
    assert lines == ["[a] a: has no Docker.", "[a] a: has no room:", "[a] host  need"]


def test_asking_a_host_leaves_the_input_to_the_question_that_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "ssh_arguments", lambda *_: ["sh", "-c", "cat"])
    description: Any = None
    reader, writer = os.pipe()
    os.write(writer, b"y\n")
    os.close(writer)
    kept = os.dup(0)
    try:
        os.dup2(reader, 0)
        assert remote.run(description, "a", ["true"]).value == ""
        assert os.read(0, 10) == b"y\n"
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(reader)

"""A change that could lock this node out takes itself back unless a new login proves that it did not."""

from __future__ import annotations

from typing import Any

import pytest

from gx10.access.remote import Answer
from gx10.operations.loop import guard
from gx10.operations.loop.commands import Command
from gx10.operations.loop.guard import UNIT, NewLogin, guarded

LOGIN = ["ssh", "-o", "BatchMode=yes", "192.0.2.2"]


class FakeHost:
    """A host as an operation's command sees it."""

    name, print_prefix = "gx10-2", "[gx10-2] "


def test_the_guard_is_set_before_the_change_and_called_off_after_it() -> None:
    before, change, after = guarded(Command("systemctl", "restart", "fw"), "systemctl stop fw", LOGIN)
    told = str(before)
    assert "systemd-run" in told
    assert f"--unit={UNIT}" in told
    assert "'systemctl stop fw'" in told
    assert told.startswith(f"systemctl stop {UNIT}.timer"), "a guard of an earlier run must not fire into this one"
    assert str(change) == "systemctl restart fw"
    assert isinstance(after, NewLogin)


@pytest.mark.parametrize("reason", ["", "unreachable: Connection timed out"])
def test_only_a_new_login_calls_it_off(
    reason: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[list[str]] = []

    def run_by(login: list[str], host: str, command: list[str], seconds: float) -> Answer:
        asked.append([*login, host, *command])
        return Answer(host, reason=reason)

    monkeypatch.setattr(guard, "run_by", run_by)
    fake: Any = FakeHost()
    done, _ = NewLogin(LOGIN).execute(fake, fake, {})
    assert asked == [[*LOGIN, "gx10-2", "systemctl", "stop", f"{UNIT}.timer"]]
    assert done is (reason == "")
    assert ("takes the change back" in caplog.text) is bool(reason)

"""Odd bytes of hosts and people stand escaped in reports, and stop no run."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gx10.access.lock import Holder
from gx10.access.suspension import Suspension
from gx10.printable import printable
from gx10.reconcile.report import Report


@pytest.mark.parametrize("text", ["new \udcffswitch", "\x1b[31mred", "a\0b", "plain", "größer", "two\nlines"])
def test_text_from_outside_can_be_written_and_commands_no_terminal(text: str) -> None:
    told = printable(text)
    assert told.encode().decode() == told
    assert "\x1b" not in told
    assert (told == text) is (text.isprintable() or text == "two\nlines")
    started = datetime(2026, 5, 4, tzinfo=UTC)
    Report(run="r", cluster="c", mode="plan", started=started, reason=told).model_dump_json()
    Holder.me(text).reason.encode()


@pytest.mark.parametrize("until", ["2027-01-31T06:00", "soon", None])
def test_a_suspension_without_a_moment_is_an_error_and_no_permission(until: object) -> None:
    told = {"reason": "new switch", "until": until, "owner": "ada"}
    with pytest.raises(ValueError, match="the suspension on the head cannot be read"):
        Suspension.read(told, datetime(2026, 5, 4, tzinfo=UTC))

"""What this package takes for a timer's calendar, systemd takes; what systemd refuses, this package refuses."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gx10.settings.calendar import checked_calendar

TAKEN = (
    "*-*-* 02:30", "Mon..Fri 02:30", "Mon,Tue *-*-01/2 1:2", "daily", "Weekly", "*:0/15", "*:*:0/20", "sunday",
    "Sat *-*-1..7 18:00", "*-*~01 02:00", "2026-01-01", "02..04:30", "10-01 02:30", "*-*-* 02:30:15", "*-*-1,15 4:00",
)  # fmt: skip
REFUSED = (
    "", "*-*-* 25:00", "Foo 02:30", "2026-13-01 02:30", "02:60", "*-*-* *", "24:00", "*-*-* 2", "half past two",
    "02:30 Europe/Paris", "02:30 02:30", "02:30 *-*-*", "5..1:00", "*/0:00", "1~2-3 1:00", "Mon..Foo 1:00", "1:2:3:4",
    "*-*-* 02:30 extra", "-1:00", "*:*/5", "*-*-32", "daily 02:30", "02:30;reboot", "%H:%M",
)  # fmt: skip
SYSTEMD = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not on this node")


def taken_by_systemd(text: str) -> bool:
    return subprocess.run(["systemd-analyze", "calendar", text], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("text", TAKEN)
def test_times_are_taken(text: str) -> None:
    assert checked_calendar(text) == text


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"such as \*-\*-\* 02:30"):
        checked_calendar(text)


@SYSTEMD
@pytest.mark.parametrize("text", TAKEN)
def test_systemd_takes_them_too(text: str) -> None:
    assert taken_by_systemd(text)


NUMBER = st.integers(0, 70).map(str)
PART = st.one_of(
    st.just("*"), NUMBER, st.tuples(NUMBER, NUMBER).map("..".join), st.tuples(NUMBER, NUMBER).map("/".join)
)
DAY = st.sampled_from(["Mon", "tue", "Sunday", "Mon..Fri", "Sat,Sun", "Fr"])


@SYSTEMD
@settings(max_examples=150, deadline=None)
@given(st.one_of(st.none(), DAY), st.lists(PART, min_size=2, max_size=3), st.lists(PART, min_size=2, max_size=3))
def test_whatever_is_taken_here_systemd_takes(day: str | None, date: list[str], time: list[str]) -> None:
    text = " ".join([*([day] if day else []), "-".join(date), ":".join(time)])
    try:
        checked_calendar(text)
    except ValueError:
        return
    assert taken_by_systemd(text), text

"""When a timer elapses, in the words of systemd's OnCalendar= without a time zone: checked here, before any host.

Source: systemd.time(7), "Calendar events". What this takes, `systemd-analyze calendar` takes.
"""

from __future__ import annotations

import re

WORDS = frozenset(
    ["minutely", "hourly", "daily", "weekly", "monthly", "quarterly", "semiannually", "annually", "yearly"]
)
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
YEARS, MONTHS, MONTH_DAYS, HOURS, SIXTIETHS = (1970, 2199), (1, 12), (1, 31), (0, 23), (0, 59)
PART = re.compile(r"\*|(?P<first>\d{1,4})(?:\.\.(?P<last>\d{1,4}))?(?:/(?P<step>\d{1,4}))?")
RULE = (
    "it must be a time as OnCalendar= of systemd takes it, without a time zone, such as *-*-* 02:30 or Mon..Fri 03:00"
)


def checked_calendar(text: str) -> str:
    """The text, where it is such a time; raises ValueError."""
    words = text.split()
    if len(words) == 1 and words[0].lower() in WORDS:
        return text
    days = words[:1] if words and words[0][:1].isalpha() else []
    rest = words[len(days) :]
    dates, times = [word for word in rest if ":" not in word], [word for word in rest if ":" in word]
    wrong = (
        not words
        or len(dates) > 1
        or len(times) > 1
        or rest != dates + times
        or not all(map(_is_days, days))
        or not all(map(_is_date, dates))
        or not all(map(_is_time, times))
    )
    if wrong:
        raise ValueError(RULE)
    return text


def _is_days(word: str) -> bool:
    def known(name: str) -> bool:
        return any(name.lower() in (day, day[:3]) for day in DAYS)

    return all(known(name) for part in word.split(",") for name in part.split("..", 1))


def _is_date(word: str) -> bool:
    """YEAR-MONTH-DAY or MONTH-DAY; with `~` before the day it is counted from the month's end."""
    parts = re.split(r"[-~]", word)
    if len(parts) not in (2, 3) or "~" in word[: -len(parts[-1]) - 1]:
        return False
    return all(_lies(part, bounds) for part, bounds in zip(reversed(parts), (MONTH_DAYS, MONTHS, YEARS), strict=False))


def _is_time(word: str) -> bool:
    parts = word.split(":")
    if len(parts) not in (2, 3):
        return False
    return all(_lies(part, bounds) for part, bounds in zip(parts, (HOURS, SIXTIETHS, SIXTIETHS), strict=False))


def _lies(component: str, bounds: tuple[int, int]) -> bool:
    """Whether every part of a list is `*`, a number or a range within bounds, maybe with a step."""
    least, most = bounds
    for part in component.split(","):
        found = PART.fullmatch(part)
        if not found:
            return False
        first, last, step = found["first"], found["last"], found["step"]
        if step is not None and not 1 <= int(step) <= most - int(first):
            return False
        if first is not None and not least <= int(first) <= int(last or first) <= most:
            return False
    return True

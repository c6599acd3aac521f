"""When the gang may be restarted: hours on a clock that people read, with its summer and winter time."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from gx10.settings.reconcile import Window

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def closes(window: Window, zone: ZoneInfo, now: datetime) -> datetime | None:
    """When the window that is open now closes; None when none is open. Both are moments with a time zone.

    Moments are compared in UTC: on the night that has an hour twice the window is an hour longer, on the night that
    lacks one it is an hour shorter, and a window inside the missing hour does not open.
    """
    today = now.astimezone(zone).date()
    # The window that opened yesterday may still be open.
    for day in (today, today - timedelta(days=1)):
        opening, closing = _on(window, zone, day)
        if opening <= now.astimezone(UTC) < closing:
            return closing.astimezone(zone)
    return None


def opens(window: Window, zone: ZoneInfo, now: datetime) -> datetime:
    """When the next window opens."""
    today = now.astimezone(zone).date()
    for ahead in range(16):  # a week, and another one where its only window falls into a missing hour
        opening, closing = _on(window, zone, today + timedelta(days=ahead))
        if opening > now.astimezone(UTC) and closing > opening:
            return opening.astimezone(zone)
    raise ValueError(f"the window {window.start} to {window.end} in {zone.key} never opens")


def _on(window: Window, zone: ZoneInfo, day: date) -> tuple[datetime, datetime]:
    """Opening and closing of a day's window in UTC; equal moments where the day has none."""
    opening = _moment(zone, day, window.start)
    if DAYS[day.weekday()] not in window.days:
        return opening, opening
    ends_next_day = window.end <= window.start
    return opening, _moment(zone, day + timedelta(days=1) if ends_next_day else day, window.end)


def _moment(zone: ZoneInfo, day: date, clock: str) -> datetime:
    """A clock's time on a day as a moment. A time that the clock shows twice is the first; one that it skips is when
    it has been skipped."""
    local = datetime.combine(day, time.fromisoformat(clock), zone)
    moment = local.astimezone(UTC)
    if moment.astimezone(zone).time() == local.time():
        return moment
    # In the missing hour the offset before it, fold 0, leads past it: what is wanted is its end.
    before, after = local.replace(fold=0).utcoffset(), local.replace(fold=1).utcoffset()
    if before is None or after is None:
        raise ValueError(f"{zone.key} has no offset on {day}")
    gap = after - before
    probe = moment
    while (probe - timedelta(minutes=1)).astimezone(zone).utcoffset() == after and moment - probe < gap:
        probe -= timedelta(minutes=1)
    return probe

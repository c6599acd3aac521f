"""What a run decides, when it may restart, how it ends: in plain Python, without a host."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gx10.access.suspension import Suspension, until
from gx10.drift.classes import Drift
from gx10.drift.classify import Decision, Situation, decide, holds, keys, put_off_because, resolved
from gx10.drift.findings import Finding, Item, Looked, items
from gx10.drift.policy import Hold, Policy
from gx10.drift.verdict import EXIT, Status, judge
from gx10.reconcile import window
from gx10.reconcile.memory import Memory
from gx10.settings.reconcile import Window

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = date(2026, 5, 4)


def item(drift: Drift, *subjects: str, operation: str = "Host | Write", host: str = "gx10-3") -> Item:
    """An item with findings."""
    findings = tuple(Finding(subject, drift=drift) for subject in subjects or ("thing",))
    return Item(operation, host, drift, findings, drift not in (Drift.REPORT, Drift.REBOOT))


def decisions(*found: Item, restart: str = "", flapping: dict[str, int] | None = None) -> list[tuple[Drift, Decision]]:
    """Class and decision of each."""
    decided = decide(found, restart=restart, corrective=True, flapping=flapping or {}, resting={})
    return [(one.drift, one.decision) for one in decided]


# Classes


@pytest.mark.parametrize(
    ("drift", "restart", "decision"),
    [
        (Drift.HEAL, "", Decision.PUT_BACK),
        (Drift.HEAL, "the window is closed", Decision.PUT_BACK),
        (Drift.RELOAD, "the window is closed", Decision.PUT_BACK),
        (Drift.RESTART, "", Decision.RESTART),
        (Drift.RESTART, "the window is closed", Decision.PUT_OFF),
        (Drift.REBOOT, "", Decision.REPORT),
        (Drift.REPORT, "", Decision.REPORT),
    ],
)
def test_each_class_has_its_decision(drift: Drift, restart: str, decision: Decision) -> None:
    assert decisions(item(drift), restart=restart) == [(drift, decision)]


def test_files_of_the_gang_go_back_at_once_while_the_generation_is_as_described() -> None:
    assert decisions(item(Drift.GANG)) == [(Drift.HEAL, Decision.PUT_BACK)]


def test_files_of_the_gang_wait_with_the_restart_once_the_generation_has_moved() -> None:
    moved = (item(Drift.GANG), item(Drift.RESTART, operation="Ray | Stop", host="gx10-1"))
    assert [drift for _, drift in resolved(moved)] == [Drift.RESTART, Drift.RESTART]
    assert decisions(*moved, restart="closed") == [(Drift.RESTART, Decision.PUT_OFF)] * 2
    assert decisions(*moved) == [(Drift.RESTART, Decision.RESTART)] * 2


def test_what_flaps_is_left_alone_and_the_rest_of_its_operation_is_not() -> None:
    both = item(Drift.HEAL, "one", "two")
    decided = decide((both,), restart="", corrective=True, flapping={keys(both)[0]: 3}, resting={})
    assert {(one.item.subjects, one.decision) for one in decided} == {
        (("one",), Decision.HANDS_OFF),
        (("two",), Decision.PUT_BACK),
    }
    (hold,) = holds(decided)
    assert hold.covers("Host | Write", "gx10-3", "one")
    assert not hold.covers("Host | Write", "gx10-3", "two")
    assert not hold.covers("Host | Write", "gx10-2", "one")


def test_reports_are_told_even_when_they_come_every_night() -> None:
    told = item(Drift.REPORT)
    assert decisions(told, flapping={keys(told)[0]: 9}) == [(Drift.REPORT, Decision.REPORT)]


def test_a_hold_means_its_names_literally() -> None:
    odd = item(Drift.HEAL, "/etc/[a]*?")
    decided = decide((odd,), restart="", corrective=True, flapping={keys(odd)[0]: 3}, resting={})
    (hold,) = holds(decided)
    assert hold.covers("Host | Write", "gx10-3", "/etc/[a]*?")
    assert not hold.covers("Host | Write", "gx10-3", "/etc/a")


def test_findings_of_a_dearer_class_make_an_item_of_their_own() -> None:
    findings = (Finding("clock", drift=Drift.REPORT), Finding("reboot", drift=Drift.REBOOT))
    looked = Looked("plan", "gx10-1", "Live | Compare", "live.f", Drift.REPORT, False, False, findings)
    assert [one.drift for one in items([looked])] == [Drift.REPORT, Drift.REBOOT]


def test_ignored_findings_are_no_items_and_a_change_without_a_finding_is_one() -> None:
    ignored = (Finding("a", drift=Drift.HEAL, left="ignored: known"),)
    looked = Looked("plan", "gx10-1", "Host | Write", "files.f", Drift.HEAL, False, False, ignored)
    assert items([looked]) == ()
    (found,) = items([replace(looked, findings=(), changes=True)])
    assert found.subjects == ("Host | Write",)


# Policy


def test_without_a_policy_everything_is_acted_on() -> None:
    assert Policy().left("Ray | Stop", "gx10-1", "ray-head.service", Drift.RESTART) == ""


def test_a_policy_holds_restarts_and_what_it_names(tmp_path: Path) -> None:
    policy = Policy(False, "closed", (Hold("known", operation="Write*", subject="vm.*"),), ("gang.f",))
    policy.write(tmp_path)
    read = Policy.read(tmp_path)
    assert read == policy
    assert read.left("Ray | Stop", "gx10-1", "x", Drift.RESTART) == "closed"
    assert read.left("Host | Write it", "gx10-1", "vm.swappiness", Drift.HEAL) == "known"
    assert read.left("Host | Write it", "gx10-1", "net.core", Drift.HEAL) == ""


def test_a_run_whose_policy_is_gone_does_not_act_on_everything(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="policy"):
        Policy.read(tmp_path)


# Restarts

OPEN = datetime(2026, 5, 4, 4, tzinfo=UTC)
READY = Situation(reachable=True, serving=True, window_closes=OPEN)


@pytest.mark.parametrize(
    ("situation", "artifacts", "reason"),
    [
        (READY, False, ""),
        (replace(READY, reachable=False), False, "a host does not answer"),
        (READY, True, "is not done on gx10-3"),
        (replace(READY, window_closes=None, window_opens=OPEN), False, "the window is closed; it opens Mon"),
        (replace(READY, restarted=True), False, "restarted in this run already"),
        (replace(READY, window_closes=None, serving=False), False, ""),
        (replace(READY, window_closes=None, serving=False, reachable=False), False, "a host does not answer"),
        (replace(READY, serving=False), True, "is not done on gx10-3"),
    ],
)
def test_a_restart_needs_window_hosts_and_artifacts_and_a_dead_cluster_no_window(
    situation: Situation, artifacts: bool, reason: str
) -> None:
    missing = [item(Drift.HEAL)] if artifacts else []
    told = put_off_because(situation, missing)
    assert (reason in told) if reason else told == ""


# Windows


@pytest.mark.parametrize(
    ("now", "closes"),
    [
        ("2026-05-04T01:59:59", None),
        ("2026-05-04T02:00:00", "2026-05-04T06:00:00"),
        ("2026-05-04T05:59:59", "2026-05-04T06:00:00"),
        ("2026-05-04T06:00:00", None),
    ],
)
def test_a_window_opens_and_closes_on_its_zones_clock(now: str, closes: str | None) -> None:
    found = window.closes(Window(), BERLIN, datetime.fromisoformat(now).replace(tzinfo=BERLIN))
    assert found == (datetime.fromisoformat(closes).replace(tzinfo=BERLIN) if closes else None)


def test_a_window_over_midnight_belongs_to_the_day_it_opens_on() -> None:
    friday = Window(days=("fri",), start="23:00", end="03:00")
    saturday_morning = datetime(2026, 5, 9, 2, tzinfo=BERLIN)
    assert window.closes(friday, BERLIN, saturday_morning) == datetime(2026, 5, 9, 3, tzinfo=BERLIN)
    assert window.closes(friday, BERLIN, saturday_morning - timedelta(days=1)) is None
    assert window.opens(friday, BERLIN, saturday_morning) == datetime(2026, 5, 15, 23, tzinfo=BERLIN)


def hours_open(told: Window, day: date) -> float:
    """How long a window is open around a day, in hours, counted in moments."""
    first = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=12)
    steps = [first + timedelta(minutes=5 * step) for step in range(12 * 48)]
    return sum(window.closes(told, BERLIN, step) is not None for step in steps) / 12


def test_the_night_that_lacks_an_hour_has_a_shorter_window_and_the_one_with_two_a_longer() -> None:
    told = Window(days=("sun",), start="01:00", end="05:00")
    assert hours_open(told, date(2026, 3, 29)) == 3
    assert hours_open(told, date(2026, 10, 25)) == 5
    assert hours_open(told, date(2026, 5, 3)) == 4


def test_a_window_inside_the_missing_hour_does_not_open_that_night_and_the_next_one_is_named() -> None:
    told = Window(start="02:00", end="03:00")
    missing = datetime(2026, 3, 29, 0, 30, tzinfo=BERLIN)
    assert hours_open(replace_days(told, "sun"), date(2026, 3, 29)) == 0
    assert window.opens(told, BERLIN, missing) == datetime(2026, 3, 30, 2, tzinfo=BERLIN)


def replace_days(told: Window, day: str) -> Window:
    return told.model_copy(update={"days": (day,)})


@given(st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)), st.integers(0, 23), st.integers(0, 23))
def test_what_is_open_closes_later_and_what_is_closed_opens_later(moment: datetime, start: int, end: int) -> None:
    told, now = Window(start=f"{start:02}:00", end=f"{end:02}:30"), moment.replace(tzinfo=UTC)
    closing = window.closes(told, BERLIN, now)
    assert closing is None or now < closing <= now + timedelta(hours=26)
    opening = window.opens(told, BERLIN, now)
    assert now < opening
    assert window.closes(told, BERLIN, opening) is not None


# Verdict


def test_every_status_has_an_exit_status_and_only_good_ones_have_0() -> None:
    assert set(EXIT) == set(Status)
    assert {status for status, code in EXIT.items() if code == 0} == {Status.IN_SYNC, Status.HEALED, Status.SUSPENDED}
    assert {EXIT[Status.DRIFTED], EXIT[Status.LOCKED], EXIT[Status.UNKNOWN], EXIT[Status.FAILED]} == {2, 75, 1}


@pytest.mark.parametrize(
    ("known", "proven", "found", "left", "status"),
    [
        (True, True, 0, 0, Status.IN_SYNC),
        (True, True, 3, 0, Status.HEALED),
        (True, True, 3, 1, Status.DRIFTED),
        (True, False, 0, 0, Status.FAILED),
        (True, False, 3, 3, Status.FAILED),
        (False, True, 0, 0, Status.UNKNOWN),
        (False, False, 9, 9, Status.UNKNOWN),
    ],
)
def test_a_verdict_is_never_guessed(known: bool, proven: bool, found: int, left: int, status: Status) -> None:
    assert judge(all_known=known, proven=proven, found=found, left=left) is status


# Memory

KEY = "gx10-3: Host | Write: /etc/x"


def put_back_on(memory: Memory, *nights: int) -> Memory:
    for night in nights:
        memory.note_found({KEY}, ())
        memory.note_tried(KEY, True, 3, NIGHT + timedelta(days=night))
    return memory


def test_what_comes_back_three_nights_in_a_row_is_left_alone_until_a_night_without_it() -> None:
    memory = put_back_on(Memory(), 0, 1)
    assert memory.flaps(KEY, 3, NIGHT + timedelta(days=2)) == 3
    memory.note_found({KEY}, {KEY})
    assert memory.flaps(KEY, 3, NIGHT + timedelta(days=9)) > 0
    memory.note_found((), ())
    assert memory.flaps(KEY, 3, NIGHT + timedelta(days=10)) == 0


def test_two_runs_of_one_night_count_once_and_a_free_night_starts_over() -> None:
    assert put_back_on(Memory(), 0, 0, 0).flaps(KEY, 3, NIGHT) == 0
    assert put_back_on(Memory(), 0, 1).flaps(KEY, 3, NIGHT + timedelta(days=4)) == 0


def test_what_is_put_off_every_night_does_not_flap() -> None:
    memory = Memory()
    for night in range(9):
        assert memory.flaps(KEY, 3, NIGHT + timedelta(days=night)) == 0
        memory.note_found({KEY}, ())


def test_failures_rest_longer_each_time_and_success_forgets_them() -> None:
    memory, rests = Memory(), []
    for _ in range(7):
        memory.note_tried(KEY, False, 3, NIGHT)
        resumes = memory.seen[KEY].resumes
        rests.append((date.fromisoformat(resumes) - NIGHT).days - 1 if resumes else 0)
    assert rests == [0, 0, 1, 2, 4, 7, 7]
    assert memory.rests(KEY, NIGHT + timedelta(days=7))
    assert not memory.rests(KEY, NIGHT + timedelta(days=8))
    memory.note_tried(KEY, True, 3, NIGHT + timedelta(days=8))
    assert memory.seen[KEY].failures == 0
    assert not memory.rests(KEY, NIGHT)


def test_memory_survives_and_a_damaged_one_is_none(tmp_path: Path) -> None:
    memory = put_back_on(Memory(sampled=4), 0)
    memory.write(tmp_path / "m")
    assert Memory.read(tmp_path / "m") == memory
    for text in ("", "[]", '{"seen": 3}', '{"seen": {"a": {"b": 1}}, "sampled": 0}'):
        (tmp_path / "m").write_text(text)
        assert Memory.read(tmp_path / "m") == Memory()


# Suspension


def test_a_suspension_ends_by_itself() -> None:
    now = datetime(2026, 5, 4, tzinfo=UTC)
    told = Suspension("disk swap", until("12h", now), "ada").told()
    assert Suspension.read(told, now + timedelta(hours=11)) is not None
    assert Suspension.read(told, now + timedelta(hours=12)) is None
    assert Suspension.read(None, now) is None


@pytest.mark.parametrize("told", ["text", {}, {"reason": "x", "until": "soon", "owner": "ada"}])
def test_a_suspension_that_cannot_be_read_is_an_error_and_no_permission(told: object) -> None:
    with pytest.raises(ValueError, match="suspension"):
        Suspension.read(told, datetime(2026, 5, 4, tzinfo=UTC))


@pytest.mark.parametrize("text", ["", "soon", "0h", "-1d", "2020-01-01", "999w", "99999999d", "9" * 5000 + "w"])
def test_a_moment_that_is_none_or_past_or_for_ever_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"write 12h|must lie ahead"):
        until(text, datetime(2026, 5, 4, tzinfo=UTC))


def test_spans_and_dates_are_moments() -> None:
    now = datetime(2026, 5, 4, tzinfo=BERLIN)
    assert until("2d", now) == datetime(2026, 5, 6, tzinfo=BERLIN)
    assert until("2026-05-05T06:00", now) == datetime(2026, 5, 5, 6, tzinfo=BERLIN)

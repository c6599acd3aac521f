"""A whole night over a world that a test makes up: what it does, in which order, and what its report says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gx10.access.remote import Answer
from gx10.drift.classes import Drift
from gx10.drift.classify import Decision
from gx10.drift.findings import Finding, Item, Journal
from gx10.drift.policy import Policy
from gx10.drift.verdict import Status
from gx10.reconcile.history import REPORT_FILE, History, compared
from gx10.reconcile.memory import Memory
from gx10.reconcile.night import LATER, Night
from gx10.reconcile.publish.metrics import metrics
from gx10.reconcile.publish.page import page
from gx10.reconcile.report import Health, Report
from gx10.reconcile.runner import Applied, Plan, RunnerError
from gx10.reconcile.words import in_words
from gx10.settings import load

NOW = datetime(2026, 5, 4, 3, tzinfo=UTC)
CLUSTER = load("lab").cluster
HOSTS = tuple(CLUSTER.hosts)
DESCRIPTION = "0123456789abcdef"


def thing(
    drift: Drift = Drift.HEAL, operation: str = "Host | Write", host: str = "gx10-3", *, artifact: bool = False
) -> Item:
    acts = drift not in (Drift.REPORT, Drift.REBOOT)
    return Item(operation, host, drift, (Finding(f"{operation}/{host}", "a", "b", drift),), acts, artifact)


RESTART = thing(Drift.RESTART, "Ray | Stop", "gx10-1")
GENERATION = thing(Drift.GANG, "Ray | Write the digest", "gx10-1")


@dataclass
class World:
    """A cluster that differs in some items, which an apply puts back as its policy lets it."""

    items: list[Item] = field(default_factory=list)
    silent: dict[str, str] = field(default_factory=dict)
    suspension: dict[str, Any] | None = None
    serving: bool = True
    completion: bool = True
    is_idle: bool = True
    stubborn: set[str] = field(default_factory=set)
    """Operations that change something and put nothing back."""
    failing: set[str] = field(default_factory=set)
    damaged: tuple[str, ...] = ()
    checked: str = ""
    moment: datetime = NOW
    applied: str = DESCRIPTION
    boots_seconds: float = 1e6
    """After how long hosts that are silent answer."""
    done: list[str] = field(default_factory=list)

    def now(self) -> datetime:
        return self.moment

    def wait(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)
        if self.moment >= NOW + timedelta(seconds=self.boots_seconds):
            self.silent = {}

    def reach(self) -> dict[str, Answer]:
        self.done.append("reach")
        read = {"suspension": self.suspension, "applied": {"description": self.applied}}
        told = {"clock": 0, "reboot": False, "read": read}
        return {host: Answer(host, [told], self.silent.get(host, "")) for host in HOSTS}

    def transfers(self) -> dict[str, Answer]:
        told = [
            {"at": self.moment.timestamp() + age, "what": "node:x", "bytes": 100, "seconds": 2.0} for age in (-60, 1)
        ]
        return {host: Answer(host, [{"read": {"transfers": told if host == HOSTS[1] else None}}]) for host in HOSTS}

    @contextmanager
    def sampling(self, turn: int) -> Iterator[Callable[[], dict[str, Answer]]]:
        self.done.append(f"sample {turn}")
        yield self.sampled

    def sampled(self) -> dict[str, Answer]:
        told = {"files": 1, "bytes": 10, "damaged": self.damaged}
        return {host: Answer(host, [told]) for host in HOSTS}

    def plan(self, directory: Path, policy: Policy) -> Plan:
        self.done.append("plan")
        return Plan(tuple(self.items), (), frozenset((one.operation, one.host) for one in self.items if one.changes), 1)

    def apply(self, directory: Path, policy: Policy) -> Applied:
        self.done.append("restart" if policy.restart else "apply")
        acted = [
            one
            for one in self.items
            if one.changes and not policy.left(one.operation, one.host, one.findings[0].subject, one.drift)
        ]
        failed = frozenset((one.operation, one.host) for one in acted if one.operation in self.failing)
        changed = frozenset((one.operation, one.host) for one in acted) - failed
        self.items = [
            one for one in self.items if (one.operation, one.host) not in changed or one.operation in self.stubborn
        ]
        return Applied(changed, failed, frozenset(), dict.fromkeys(changed, 0.5), 1, "disk full" if failed else "")

    def health(self, *, completion: bool) -> tuple[Health, str]:
        if completion:  # Else asked beside the plan, at its own moment.
            self.done.append("completion")
        answered = self.completion if completion and self.serving else None
        return Health(serving=self.serving, completion=answered, told="said"), "generation"

    def idle(self) -> tuple[bool, str]:
        self.done.append("idle")
        return self.is_idle, "no request" if self.is_idle else "1 requests still ran or waited after 600 s"

    def checks(self) -> str:
        self.done.append("checks")
        return self.checked


def report(mode: Any = "reconcile") -> Report:  # noqa: ANN401 - a literal
    return Report(run="20260504T030000Z-1", cluster="lab", mode=mode, started=NOW, description=DESCRIPTION)


@pytest.fixture
def night(tmp_path: Path) -> Callable[..., Report]:
    """Runs a night in a world, and returns its report as it stands on disk."""

    def run(world: World, mode: str = "reconcile", memory: Memory | None = None, **more: Any) -> Report:  # noqa: ANN401
        directory = tmp_path / "run"
        directory.mkdir(exist_ok=True)
        start = more.pop("start_seconds", 600)
        told = Night(CLUSTER, world, directory, report(mode), memory or Memory(), start_seconds=start, **more)
        told.run()
        written = Report.read(directory / REPORT_FILE)
        assert written == told.report
        return written

    return run


def results(told: Report) -> dict[str, tuple[str, str]]:
    return {one.name: (one.decision.value, one.result) for one in told.operations}


def test_a_quiet_night_looks_proves_and_changes_nothing(night: Callable[..., Report]) -> None:
    world = World()
    told = night(world)
    assert world.done == ["reach", "sample 0", "plan", "completion"]
    assert (told.status, told.exit_status, told.operations, told.left) == (Status.IN_SYNC, 0, [], [])
    assert told.finished is not None


def test_content_found_damaged_beside_the_plan_is_in_one_made_after_it(night: Callable[..., Report]) -> None:
    world = World(damaged=("/srv/models/a",))
    told = night(world)
    assert world.done == ["reach", "sample 0", "plan", "plan", "completion"]
    assert [step.told for step in told.steps if step.name == "sample"] == ["4 files, 0.00 GB, 4 damaged"]


def test_what_is_safe_is_put_back_and_planned_again(night: Callable[..., Report]) -> None:
    world = World([thing(), thing(host="gx10-2")])
    told = night(world)
    assert world.done[2:5] == ["plan", "apply", "plan"]
    assert (told.status, told.exit_status, told.left, told.unpredicted) == (Status.HEALED, 0, [], [])
    assert {(one.host, one.applied, one.predicted) for one in told.operations} == {
        ("gx10-2", True, True),
        ("gx10-3", True, True),
    }
    moved = {host: [(one.what, one.bytes, one.seconds) for one in seen.transfers] for host, seen in told.hosts.items()}
    assert moved == {host: [("node:x", 100, 2.0)] if host == HOSTS[1] else [] for host in HOSTS}
    assert 'gx10_transfer_bytes_per_second{cluster="lab",host="gx10-2"} 50' in metrics(told, None)


def test_a_plan_only_looks(night: Callable[..., Report]) -> None:
    world = World([thing(), RESTART])
    told = night(world, "plan")
    assert world.done == ["reach", "plan"]
    assert (told.status, told.exit_status) == (Status.DRIFTED, 2)
    assert results(told) == {"Host | Write": ("put back", "skipped"), "Ray | Stop": ("restart", "skipped")}
    assert night(World(), "plan").exit_status == 0


def test_what_is_only_reported_is_left_and_says_so(night: Callable[..., Report]) -> None:
    told = night(World([thing(Drift.REPORT)]))
    assert (told.status, told.exit_status) == (Status.DRIFTED, 2)
    assert results(told) == {"Host | Write": ("report", "skipped")}


def test_a_restart_comes_last_after_a_plan_that_shows_nothing_else_and_an_idle_engine(
    night: Callable[..., Report],
) -> None:
    world = World([thing(artifact=True), RESTART, GENERATION])
    told = night(world)
    assert world.done[2:] == ["plan", "apply", "plan", "idle", "restart", "plan", "completion", "checks"]
    assert (told.status, told.restarted, told.restart_pending, told.unpredicted) == (Status.HEALED, True, False, [])
    assert results(told) == {
        "Host | Write": ("put back", "changed"),
        "Ray | Stop": ("restart", "changed"),
        "Ray | Write the digest": ("restart", "changed"),
    }


def pending(told: Report, reason: str) -> None:
    assert (told.status, told.exit_status, told.restart_pending, told.restarted) == (Status.DRIFTED, 2, True, False)
    assert told.restart_pending_since is not None
    assert any(reason in one.reason for one in told.operations if one.decision is Decision.PUT_OFF), told.operations


def test_a_request_that_runs_puts_the_restart_off(night: Callable[..., Report]) -> None:
    world = World([RESTART], is_idle=False)
    pending(night(world), "1 requests still ran")
    assert "restart" not in world.done


def test_a_closed_window_puts_the_restart_off_and_the_rest_is_put_back(night: Callable[..., Report]) -> None:
    world = World([thing(), RESTART, GENERATION], moment=NOW.replace(hour=23, minute=59, second=30))
    told = night(world)
    pending(told, "the window is closed")
    assert "idle" not in world.done
    assert results(told)["Host | Write"] == ("put back", "changed")
    assert {one.operation for one in world.items} == {"Ray | Stop", "Ray | Write the digest"}


def test_a_window_that_closes_too_soon_is_closed(night: Callable[..., Report]) -> None:
    world = World([RESTART], moment=NOW.replace(hour=23, minute=50))
    pending(night(world, start_seconds=1800), "the window closes in 9 min")


def test_any_time_needs_no_window_but_still_an_idle_engine(night: Callable[..., Report]) -> None:
    late = NOW.replace(hour=23, minute=59, second=30)
    assert night(World([RESTART], moment=late), any_time=True).restarted
    pending(night(World([RESTART], moment=late, is_idle=False), any_time=True), "requests still ran")


def test_artifacts_that_are_not_in_place_put_the_restart_off(night: Callable[..., Report]) -> None:
    world = World([thing(artifact=True, operation="Image | Receive"), RESTART], stubborn={"Image | Receive"})
    pending(night(world), "Image | Receive is not done on gx10-3")


def test_a_dead_cluster_is_repaired_at_once(night: Callable[..., Report]) -> None:
    world = World([RESTART], serving=False, moment=NOW.replace(hour=23, minute=59, second=30))
    told = night(world)
    assert "idle" not in world.done
    assert told.restarted
    assert told.status is Status.FAILED, "it is restarted, and here it still does not serve"


def test_the_time_since_a_restart_is_pending_is_kept(night: Callable[..., Report]) -> None:
    before = NOW - timedelta(days=3)
    assert night(World([RESTART], is_idle=False), pending_since=before).restart_pending_since == before


def test_a_host_that_is_off_makes_everything_unknown_and_nothing_is_changed(night: Callable[..., Report]) -> None:
    world = World([thing(), RESTART], silent={"gx10-4": "unreachable: timed out"})
    told = night(world)
    assert world.done == ["reach"]
    assert (told.status, told.exit_status) == (Status.UNKNOWN, 1)
    assert (told.hosts["gx10-4"].reachable, told.hosts["gx10-1"].reachable) == (False, True)
    assert "gx10-4" in told.reason


def test_a_plan_that_fails_is_an_error_and_nothing_is_changed(night: Callable[..., Report]) -> None:
    class Broken(World):
        def plan(self, directory: Path, policy: Policy) -> Plan:
            raise RunnerError("Docker does not answer")

    told = night(Broken([thing()]))
    assert (told.status, told.exit_status, told.reason) == (Status.FAILED, 1, "Docker does not answer")


def test_a_host_that_pyinfra_cannot_log_in_to_is_unknown(night: Callable[..., Report]) -> None:
    class Deaf(World):
        def plan(self, directory: Path, policy: Policy) -> Plan:
            journal = Journal(events=[{"event": "unreachable", "host": "gx10-2", "reason": "no key"}])
            raise RunnerError("cannot be logged in to", journal)

    told = night(Deaf())
    assert (told.status, told.hosts["gx10-2"].reachable) == (Status.UNKNOWN, False)


def test_a_failed_operation_is_a_failure_and_rests_after_some(night: Callable[..., Report]) -> None:
    memory = Memory()
    for _ in range(3):
        told = night(World([thing(), RESTART], failing={"Host | Write"}), memory=memory)
        assert (told.status, results(told)["Host | Write"]) == (Status.FAILED, ("put back", "failed"))
        assert not told.restarted
        assert "disk full" in told.reason
    world = World([thing()], failing={"Host | Write"})
    told = night(world, memory=memory)
    assert results(told)["Host | Write"][0] == "hands off"
    assert "apply" not in world.done


def test_what_does_not_stay_put_back_is_drift_that_is_left(night: Callable[..., Report]) -> None:
    told = night(World([thing()], stubborn={"Host | Write"}))
    assert (told.status, len(told.left)) == (Status.DRIFTED, 1)


def test_the_third_night_in_a_row_is_hands_off(night: Callable[..., Report]) -> None:
    memory = Memory()
    for day in range(2):
        world = World([thing()])
        later = NOW + timedelta(days=day)
        told = night_on(night, world, memory, later)
        assert told.status is Status.HEALED
    world = World([thing()])
    told = night_on(night, world, memory, NOW + timedelta(days=2))
    assert (told.status, told.flapping) == (Status.DRIFTED, ["gx10-3: Host | Write: Host | Write/gx10-3"])
    assert "apply" not in world.done


def night_on(night: Callable[..., Report], world: World, memory: Memory, moment: datetime) -> Report:
    """A night that began at a moment."""
    global NOW  # noqa: PLW0603 - the report's beginning is this module's
    before, NOW = NOW, moment
    try:
        return night(world, memory=memory)
    finally:
        NOW = before


def test_a_former_head_that_serves_is_restarted_in_the_window_only(night: Callable[..., Report]) -> None:
    former = thing(Drift.RESTART, "Ray | Drain a former head", "gx10-3")
    closed = night(World([former], serving=False, moment=NOW.replace(hour=23, minute=59, second=30)))
    assert (closed.restart_pending, closed.restarted) == (True, False), (
        "the described head does not serve, another does"
    )
    assert night(World([RESTART], serving=False, moment=NOW.replace(hour=23, minute=59, second=30))).restarted


@pytest.mark.parametrize(("patience", "status"), [(0, Status.UNKNOWN), (30, Status.UNKNOWN), (60, Status.HEALED)])
def test_a_night_after_a_boot_waits_for_hosts_that_are_still_booting(
    night: Callable[..., Report], patience: float, status: Status
) -> None:
    world = World([thing()], silent={"gx10-4": "unreachable"}, boots_seconds=40)
    made = night(world, silence_seconds=patience)
    assert made.status is status
    assert len([step for step in made.steps if step.name == "reach"]) == 1


@pytest.mark.parametrize(("applied", "corrective"), [(DESCRIPTION, True), ("another", False), ("", False)])
def test_a_touched_host_is_told_from_a_description_that_moved(
    night: Callable[..., Report], applied: str, corrective: bool
) -> None:
    (one,) = night(World([thing()], applied=applied)).operations
    assert one.corrective is corrective


def test_a_suspended_run_changes_nothing_and_says_until_when(night: Callable[..., Report]) -> None:
    until = (NOW + timedelta(hours=5)).isoformat()
    world = World([thing()], suspension={"reason": "swapping disks", "until": until, "owner": "ada"})
    told = night(world)
    assert world.done == ["reach"]
    assert (told.status, told.exit_status) == (Status.SUSPENDED, 0)
    assert "swapping disks" in told.reason
    assert night(World([thing()], suspension=world.suspension), "plan").status is Status.DRIFTED, "a plan still looks"
    over = replace(world, suspension={**(world.suspension or {}), "until": NOW.isoformat()}, items=[thing()])
    assert night(over).status is Status.HEALED


@pytest.mark.parametrize(
    ("world", "reason"),
    [
        (World(completion=False), "gave no completion"),
        (World(serving=False), "does not serve"),
        (World(checked="test_ports failed"), "test_ports failed"),
    ],
)
def test_in_sync_but_not_serving_is_a_failure(night: Callable[..., Report], world: World, reason: str) -> None:
    told = night(world, checks=True)
    assert (told.status, told.exit_status) == (Status.FAILED, 1)
    assert reason in told.reason


def test_more_than_was_predicted_is_told(night: Callable[..., Report]) -> None:
    class Eager(World):
        def apply(self, directory: Path, policy: Policy) -> Applied:
            done = super().apply(directory, policy)
            return replace(done, changed=done.changed | {("Host | Surprise", "gx10-2")})

    assert night(Eager([thing()])).unpredicted == ["gx10-2: Host | Surprise"]


def test_the_policy_of_the_first_apply_holds_the_restart(night: Callable[..., Report]) -> None:
    policies: list[Policy] = []

    class Watched(World):
        def apply(self, directory: Path, policy: Policy) -> Applied:
            policies.append(policy)
            return super().apply(directory, policy)

    night(Watched([thing(), RESTART, GENERATION]))
    assert [policy.restart for policy in policies] == [False, True]
    assert policies[0].left("Ray | Write the digest", "gx10-1", GENERATION.findings[0].subject, Drift.GANG) == LATER


def test_a_run_that_dies_leaves_a_report_that_says_failed(night: Callable[..., Report], tmp_path: Path) -> None:
    class Killed(World):
        def apply(self, directory: Path, policy: Policy) -> Applied:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        night(Killed([thing()]))
    left = Report.read(tmp_path / "run" / REPORT_FILE)
    assert (left.status, left.exit_status, left.finished) == (Status.FAILED, 1, None)
    assert [one.result for one in left.operations] == ["skipped"]


# What is made of reports


def test_metrics_tell_hosts_classes_and_statuses_only(night: Callable[..., Report]) -> None:
    told = night(World([thing(), thing(Drift.REPORT, "Live | Look", "gx10-2"), RESTART], is_idle=False))
    text = metrics(told, NOW)
    assert 'gx10_drift_items{class="report",cluster="lab",host="gx10-2"} 1' in text
    assert 'gx10_drift_items{class="heal",cluster="lab",host="gx10-3"} 0' in text
    assert 'gx10_applied_items{cluster="lab",host="gx10-3"} 1' in text
    assert 'gx10_restart_pending{cluster="lab"} 1' in text
    assert 'gx10_run_status{cluster="lab",status="drifted"} 1' in text
    assert "gx10_canary_ok" in text
    labelled = [line.split("{")[1] for line in text.splitlines() if "{" in line]
    labels = {part.partition("=")[0] for line in labelled for part in line.split(",")}
    assert labels == {"cluster", "host", "class", "status", "revision", "description"}


def test_a_report_in_words_names_what_became_of_everything(night: Callable[..., Report]) -> None:
    told = in_words(night(World([thing(), thing(Drift.REPORT, "Live | Look"), RESTART], is_idle=False)))
    for word in ("drifted", "put back:", "put off:", "to be looked at:", "Ray | Stop", "touched on the host"):
        assert word in told


def test_the_page_stands_alone_and_shows_text_as_text(night: Callable[..., Report]) -> None:
    hostile = Item("<script>alert(1)</script>", "gx10-3", Drift.HEAL, (Finding("<b>&", "\"'", ""),), True)
    told = night(World([hostile, RESTART], is_idle=False))
    text = page("lab", [told, night(World())])
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "http://" not in text
    assert "https://" not in text
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


def test_history_keeps_lists_and_compares(tmp_path: Path, night: Callable[..., Report]) -> None:
    kept = History(tmp_path)
    for place, world in enumerate((World(), World([thing(Drift.REPORT)]), World(silent={"gx10-2": "off"}))):
        directory = tmp_path / "runs" / f"2026050{place}T030000Z-1"
        directory.mkdir(parents=True)
        told = night(world).model_copy(update={"run": directory.name})
        told.write(directory / REPORT_FILE)
        kept.keep(told, 2)
    assert kept.names() == ["20260502T030000Z-1", "20260501T030000Z-1"]
    assert kept.report("-1").status is Status.UNKNOWN
    assert kept.report("20260501").status is Status.DRIFTED
    for wrong in ("-3", "2026", "x"):
        with pytest.raises(LookupError, match="gx10 history"):
            kept.report(wrong)
    lines = compared(kept.report("-2"), kept.report("-1"))
    assert "status: drifted -> unknown" in lines
    assert "gx10-2: reachable True -> False" in lines
    assert any(line.startswith("- gx10-3: Host | Write") for line in lines)
    summary = tmp_path / "last_run_summary.json"
    assert summary.stat().st_mode & 0o777 == 0o640
    assert '"status": "unknown"' in summary.read_text()


def test_a_report_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r").write_text('{"version": 2}')
    with pytest.raises(ValueError, match="version 2, expected 1"):
        Report.read(tmp_path / "r")


def test_a_host_that_does_not_answer_and_a_suspension_are_said_once(night: Callable[..., Report]) -> None:
    silent = in_words(night(World(silent={"gx10-4": "unreachable: timed out"})))
    assert silent.count("timed out") == 1
    kept = {"owner": "ada", "reason": "new switch", "until": (NOW + timedelta(hours=1)).isoformat()}
    suspended = in_words(night(World(suspension=kept)))
    assert suspended.count("new switch") == 1


def test_a_run_that_began_no_step_says_so() -> None:
    assert in_words(report()).endswith(": no step was begun")

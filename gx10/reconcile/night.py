"""One run: reach, plan and sample, decide, put back, plan again, restart where it is time, prove, report.

Nothing here knows pyinfra or ssh: the tools do. The report is written after each step, and says `failed` until the
last one has come to its end.

In one file because the order of its steps is what it promises, and it can be read from top to bottom.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path

from gx10.access.remote import Answer
from gx10.access.suspension import Suspension
from gx10.drift.classes import Drift
from gx10.drift.classify import Decided, Decision, Situation, decide, holds, keys, put_off_because
from gx10.drift.policy import Policy
from gx10.drift.verdict import EXIT, Status, judge
from gx10.settings import Cluster

from . import window
from .history import REPORT_FILE
from .memory import Memory
from .report import Difference, HostReport, IgnoredReport, OperationReport, Report, StepReport, TransferReport
from .runner import Applied, Plan, RunnerError
from .tools import Tools

TAKEN_OVER = ("gang.completion_answered", "model.manifest_recorded")
"""The run asks for the completion itself, and can tell an engine that is silent from a plan that failed. What a deploy
remembers of weights is its own node's."""
REACH_AGAIN_SECONDS = 5
LATER = "waits until everything else is in place"


class EndedError(Exception):
    """The run ends here, with a status and a sentence."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass
class Night:
    """A run and what it knows so far."""

    cluster: Cluster
    tools: Tools
    directory: Path
    report: Report
    memory: Memory
    start_seconds: float
    """How long the gang's own restart may take: its drain, its stop and its start."""
    any_time: bool = False
    """Somebody asked for the restart now, whatever the window says."""
    sample: bool = True
    checks: bool | None = None
    """Whether to check every node; None does it when something was put back."""
    silence_seconds: float = 0
    """For how long hosts may be silent before the run ends: they may be booting."""
    pending_since: datetime | None = None
    """Since when a restart has been pending, by the report before."""
    _plans: int = field(default=0)
    _fault: str = field(default="")
    _decided: list[Decided] = field(default_factory=list)
    _applied: list[Applied] = field(default_factory=list)
    _expected: set[tuple[str, str]] = field(default_factory=set)

    def run(self) -> None:
        """Do everything. The report has its verdict afterwards, also when something could not be asked."""
        try:
            self._run()
        except EndedError as ended:
            self.report.status, self._fault = ended.status, str(ended)
        except RunnerError as error:
            unreachable = list(error.journal.of("unreachable"))
            for event in unreachable:
                self.report.hosts[event["host"]] = HostReport(reachable=False, reason=event["reason"])
            self.report.status = Status.UNKNOWN if unreachable else Status.FAILED
            self._fault = str(error)
        self.report.reason = self._fault
        self.report.exit_status = EXIT[self.report.status]
        self.report.finished = self.tools.now()
        self._write()

    def _run(self) -> None:
        only_looks = self.report.mode == "plan"
        self._reach()
        found = self._plan_and_health() if only_looks or not self.sample else self._plan_and_sample()
        decided = self._decide(found, self._why_not_yet(found))
        self._decided = list(decided)
        self._tell()
        if only_looks:
            self._end(proven=True, left=found)
            return
        left = found
        if any(one.decision is Decision.PUT_BACK for one in decided):
            # Restarts wait for a plan that shows artifacts in place and nothing else to do.
            first = self._decide(found, LATER)
            self._apply(first, restart=False)
            left = self._plan()
        left = self._restart_if_due(left)
        if self._applied:
            self._note_transfers()
        self._prove()
        self._remember(left)
        self._end(proven=self._proven(), left=left)

    # Steps

    def _reach(self) -> None:
        with self._step("reach") as step:
            answers = self._answers()
            now = self.tools.now()
            for host, answer in answers.items():
                reboot = answer.ok and bool(answer.value[0]["reboot"])
                self.report.hosts[host] = HostReport(reachable=answer.ok, reason=answer.reason, reboot_pending=reboot)
            silent = [host for host, answer in answers.items() if not answer.ok]
            step.told = f"{len(answers) - len(silent)} of {len(answers)} hosts answer"
            self._read_head(answers[self.cluster.head], now)
            if silent:
                raise EndedError(Status.UNKNOWN, f"{silent[0]} does not answer: {answers[silent[0]].reason}")

    def _answers(self) -> dict[str, Answer]:
        """Every host's answer, asked for again while silent ones may be booting."""
        until = self.tools.now() + timedelta(seconds=self.silence_seconds)
        while True:
            answers = self.tools.reach()
            if all(answer.ok for answer in answers.values()) or self.tools.now() >= until:
                return answers
            self.tools.wait(REACH_AGAIN_SECONDS)

    def _note_transfers(self) -> None:
        """What came over the fabric in this run; a host that does not tell is found by what follows."""
        for host, answer in self.tools.transfers().items():
            found = answer.value[0]["read"]["transfers"] if answer.ok else None
            told = found if isinstance(found, list) else []
            self.report.hosts[host].transfers = [
                TransferReport(what=one["what"], bytes=one["bytes"], seconds=one["seconds"])
                for one in told
                # A record that lacks something was written by somebody else.
                if {"at", "what", "bytes", "seconds"} <= one.keys()
                and one["at"] >= int(self.report.started.timestamp())
            ]

    def _read_head(self, answer: Answer, now: datetime) -> None:
        """What the head keeps: whether the cluster is suspended, and what was applied last."""
        if not answer.ok:
            return
        kept = answer.value[0]["read"]
        applied = kept.get("applied")
        self.report.applied_description = str(applied.get("description", "")) if isinstance(applied, dict) else ""
        try:
            suspension = Suspension.read(kept.get("suspension"), now)
        except ValueError as error:
            raise EndedError(Status.FAILED, str(error)) from None
        if suspension:
            self.report.suspended_until, self.report.suspended_reason = suspension.until, suspension.reason
            if self.report.mode == "reconcile":
                until = f"{suspension.until:%Y-%m-%d %H:%M %Z}"
                raise EndedError(
                    Status.SUSPENDED, f"suspended by {suspension.owner} until {until}: {suspension.reason}"
                )

    def _plan_and_health(self) -> Plan:
        with ThreadPoolExecutor(1) as beside:
            before = beside.submit(self.tools.health, completion=False)
            found = self._plan()
            self.report.health_before, self.report.generation_before = before.result()
        return found

    def _plan_and_sample(self) -> Plan:
        """The same, while hosts hash their part of what is stored."""
        started = time.monotonic()
        with self.tools.sampling(self.memory.sampled) as answers:
            found = self._plan_and_health()
            damaged = self._note_sample(answers(), time.monotonic() - started)
        # A plan beside it may have read what was taken for proven then.
        return self._plan() if damaged else found

    def _note_sample(self, answers: dict[str, Answer], seconds: float) -> int:
        """Note what was hashed; returns how many files are damaged."""
        self.memory.sampled += 1
        failed = [f"{host}: {answer.reason}" for host, answer in answers.items() if not answer.ok]
        told = [answer.value[0] for answer in answers.values() if answer.ok]
        damaged = sum(len(one["damaged"]) for one in told)
        size = sum(one["bytes"] for one in told)
        said = f"{sum(one['files'] for one in told)} files, {size / 1e9:.2f} GB, {damaged} damaged"
        self.report.steps.append(StepReport(name="sample", seconds=round(seconds, 3), told=said))
        self._write()
        if failed:
            raise EndedError(Status.UNKNOWN, f"content could not be hashed on {failed[0]}")
        return damaged

    def _plan(self) -> Plan:
        with self._step("plan") as step:
            plan = self.tools.plan(self._next("plan"), Policy(skipped=TAKEN_OVER))
            step.told = f"{len(plan.items)} differences"
        self.report.ignored = [
            IgnoredReport(name=looked.operation, host=looked.host, subject=finding.subject, reason=finding.left)
            for looked, finding in plan.ignored
        ]
        return plan

    def _apply(self, decided: tuple[Decided, ...], *, restart: bool) -> None:
        name = "restart" if restart else "apply"
        acted = {Decision.PUT_BACK, Decision.RESTART} if restart else {Decision.PUT_BACK}
        expected = {(one.item.operation, one.item.host) for one in decided if one.decision in acted}
        with self._step(name) as step:
            policy = Policy(restart, "" if restart else LATER, holds(decided), TAKEN_OVER)
            applied = self.tools.apply(self._next(name), policy)
            step.told = f"{len(applied.changed)} changed, {len(applied.failed)} failed"
        self._applied.append(applied)
        self._expected |= expected
        odd = sorted(applied.changed ^ expected) if not applied.failed else []
        self.report.unpredicted += [f"{host}: {operation}" for operation, host in odd]
        self._tell()
        if applied.failed or applied.error:
            where = ", ".join(f"{operation} on {host}" for operation, host in sorted(applied.failed)) or "the deploy"
            self._note_tried()
            raise EndedError(Status.FAILED, f"{where} failed: {applied.error}")

    def _restart_if_due(self, found: Plan) -> Plan:
        """Restart the gang where that is due and may be; returns what the last plan found."""
        if not any(one.drift is Drift.RESTART for one in found.items):
            return found
        because = self._why_not_yet(found)
        if not because and self.report.health_before.serving:
            with self._step("drain") as step:
                idle, step.told = self.tools.idle()
                because = "" if idle else step.told
        decided = self._decide(found, because)
        self._merge(decided)
        self.report.restart_pending = any(one.decision is Decision.PUT_OFF for one in decided)
        if self.report.restart_pending:
            self.report.restart_pending_since = self.pending_since or self.tools.now()
        self._tell()
        if not any(one.decision is Decision.RESTART for one in decided):
            return found
        self._apply(decided, restart=True)
        self.report.restarted = True
        return self._plan()

    def _prove(self) -> None:
        with self._step("prove") as step:
            self.report.health_after, self.report.generation_after = self.tools.health(completion=True)
            # The plan has just compared everything; what an apply did is proven on the nodes themselves.
            proves = self.report.health_after.completion and (
                self.checks is True or (self.checks is None and self._applied)
            )
            failed = self.tools.checks() if proves else ""
            step.told = failed or self.report.health_after.told
            self._fault = failed

    # What follows from them

    def _why_not_yet(self, found: Plan) -> str:
        """Why the gang may not be restarted now, as far as that can be said without waiting for requests to end."""
        reconcile, now = self.cluster.reconcile, self.tools.now()
        closes = window.closes(reconcile.window, reconcile.zone, now)
        missing = [item for item in found.items if item.artifact and item.changes]
        because = put_off_because(
            Situation(
                reachable=all(host.reachable for host in self.report.hosts.values()),
                serving=bool(self.report.health_before.serving) or self._former_head_serves(found),
                window_closes=now if self.any_time and closes is None else closes,
                window_opens=window.opens(reconcile.window, reconcile.zone, now),
                restarted=self.report.restarted,
            ),
            missing,
        )
        needed = reconcile.window.drain_seconds + self.start_seconds
        if not because and closes and not self.any_time and self.report.health_before.serving:
            remaining = (closes - now).total_seconds()
            if remaining < needed:
                return f"the window closes in {remaining / 60:.0f} min, a restart may take {needed / 60:.0f} min"
        return because

    def _former_head_serves(self, found: Plan) -> bool:
        """Whether a host that is head no more has an engine that a restart would end: nothing else asks for a restart
        on another host than the head."""
        return any(item.drift is Drift.RESTART and item.host != self.cluster.head for item in found.items)

    def _decide(self, found: Plan, restart: str) -> tuple[Decided, ...]:
        nights = self.cluster.reconcile.flap_nights
        named = {key for item in found.items for key in keys(item)}
        flapping = {key: count for key in named if (count := self.memory.flaps(key, nights, self._tonight))}
        self.report.flapping = sorted(flapping)
        return decide(
            found.items,
            restart=restart,
            corrective=bool(self.report.description) and self.report.description == self.report.applied_description,
            flapping=flapping,
            resting={key: night for key in named if (night := self.memory.rests(key, self._tonight))},
        )

    @property
    def _tonight(self) -> date:
        return self.report.started.astimezone(self.cluster.reconcile.zone).date()

    def _merge(self, decided: tuple[Decided, ...]) -> None:
        """Take later decisions for what they are about; what was put back meanwhile keeps its own."""

        def name(one: Decided) -> tuple[str, str, tuple[str, ...]]:
            return (one.item.operation, one.item.host, one.item.subjects)

        later = {name(one) for one in decided}
        self._decided = [one for one in self._decided if name(one) not in later] + list(decided)

    def _tell(self) -> None:
        """Write into the report what is decided and what became of it."""
        self.report.operations = [self._operation(one) for one in self._decided]
        self.report.restart_pending = any(
            one.decision is Decision.PUT_OFF and one.drift is Drift.RESTART for one in self._decided
        )
        self._write()

    def _operation(self, one: Decided) -> OperationReport:
        pair = (one.item.operation, one.item.host)
        tried = one.decision in (Decision.PUT_BACK, Decision.RESTART)
        changed = tried and any(pair in applied.changed for applied in self._applied)
        failed = tried and any(pair in applied.failed for applied in self._applied)
        ran = tried and pair in self._expected and bool(self._applied)
        return OperationReport(
            name=one.item.operation,
            host=one.item.host,
            drift=one.drift,
            decision=one.decision,
            reason=one.reason,
            corrective=one.corrective,
            differences=[
                Difference(subject=finding.subject, found=finding.found, described=finding.described)
                for finding in one.item.findings
            ],
            predicted=one.item.changes,
            applied=changed,
            result="failed" if failed else "changed" if changed else "ok" if ran else "skipped",
            seconds=sum(applied.seconds.get(pair, 0) for applied in self._applied) if tried else 0,
        )

    def _proven(self) -> bool:
        """Whether the model is served, where this run is answerable for it."""
        health = self.report.health_after
        if not health.serving:
            self._fault = self._fault or f"the engine does not serve: {health.told}"
        elif not health.completion:
            self._fault = self._fault or f"the engine gave no completion: {health.told}"
        return bool(health.completion) and not self._fault

    def _note_tried(self, left: Plan | None = None) -> None:
        still = {key for item in left.items for key in keys(item)} if left else set()
        for one in self._decided:
            pair = (one.item.operation, one.item.host)
            if one.decision not in (Decision.PUT_BACK, Decision.RESTART) or pair not in self._expected:
                continue
            done = any(pair in applied.changed for applied in self._applied)
            for key in keys(one.item):
                put_back = done and key not in still
                self.memory.note_tried(key, put_back, self.cluster.reconcile.attempts, self._tonight)

    def _remember(self, left: Plan) -> None:
        found = {key for one in self._decided for key in keys(one.item)}
        self.memory.note_found(found, self.report.flapping)
        self._note_tried(left)

    def _end(self, *, proven: bool, left: Plan) -> None:
        self.report.left = sorted(
            f"{item.host}: {item.operation}: {subject}" for item in left.items for subject in item.subjects
        )
        self._tell()
        self.report.status = judge(
            all_known=all(host.reachable for host in self.report.hosts.values()),
            proven=proven,
            found=len(self._decided),
            left=len(left.items),
        )

    # Bookkeeping

    def _next(self, name: str) -> Path:
        self._plans += 1
        return self.directory / f"{self._plans}-{name}"

    def _write(self) -> None:
        self.report.write(self.directory / REPORT_FILE)

    @contextmanager
    def _step(self, name: str) -> Iterator[StepReport]:
        step, started = StepReport(name=name, seconds=0), time.monotonic()
        self.report.steps.append(step)
        # Whoever reads the report of a run that goes on, or of one that was killed, sees where it is.
        self._write()
        try:
            yield step
        finally:
            step.seconds = round(time.monotonic() - started, 3)
            self._write()

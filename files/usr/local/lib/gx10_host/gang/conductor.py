"""The head's judgement over the gang: one life at a time, begun whole, watched, and ended whole.

A *life* is GENERATION.NUMBER: the digest of everything that configures the gang, and a number that only grows, so that
two lives of one configuration differ. Phases:

    gathering   no rank anywhere is the goal; a life begins when every host says so of itself, and lacks nothing
    starting    parts were started on every host; ends in a completion, or is a failed attempt
    serving     completions come; evidence of death ends the life at once, silence of a host only if no token comes
    draining    the door is closed, running requests end
    ending      the engine ends first, then every rank
    stopped     somebody wants it so
    failed      the budget is spent: somebody has to look
    deposed     every other host obeys another head: this one orders nobody, until it is configured or asked anew

In one file because every phase reads and changes the same state: apart, none could be judged without the others.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from gx10_host.checked import plain
from gx10_host.wire import (
    LEASE_OVER,
    Evidence,
    Foreign,
    Generation,
    Life,
    Malformed,
    Membership,
    Order,
    Part,
    PartState,
    Report,
    Sworn,
)

from .door import Door
from .liveness import Liveness
from .state import Incident, Past, Phase, Present, RolledBack
from .store import Store

DRAIN_STEP_SECONDS = 1
SETTLED_SECONDS = 3
"""How long nothing must run before a drain is over: what the API still reads or tokenizes is not counted yet."""
KILL_SECONDS = 1
"""What a rank of a life that has failed gets to end by itself: it has nothing left to save."""
EVIDENCE_SECONDS = 15
URGENT_SECONDS = 10
DAY = 86400


Reason = tuple[str, str]
"""The host that may be why, or none, and a sentence."""


class Link(Protocol):
    """A host as the head knows it."""

    order: Order | None
    """What it is to get; nothing while it is ordered nothing."""
    report: Report | None
    """Its last report."""
    heard: float
    """When it last got its own work done, by the head's clock."""
    offset: float
    """How far its wall's clock is ahead."""
    refusal: Sworn | None
    """Whom it says it obeys instead."""
    refused: float
    """When it last said so."""

    def nonsense(self) -> tuple[Malformed, ...]:
        """What it answered that was no report."""


class Conductor:
    """Judges the hosts' reports; `step` is called about twice a second."""

    def __init__(
        self,
        config: Mapping[str, Any],
        links: Mapping[str, Link],
        liveness: Liveness,
        door: Door,
        store: Store,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        tell: Callable[[str], object] = print,
    ) -> None:
        self.config, self.links, self.liveness, self.door, self.store = config, links, liveness, door, store
        self.clock, self.wall, self._tell = clock, wall, tell
        self.head = config["host"]
        self.membership = Membership(head=config["head"], hosts=config["hosts"])
        self.past: Past = store.past()
        self.now: Present = store.present()
        if not self.now.since:
            self.now.since, self.now.began = self.wall(), self.clock()
        self.now.leaving = False
        self.told: str | None = None
        self.unkept = False
        """Whether `past` is newer than what is on the disk."""
        self.unwritten: set[str] = set()
        self.quiet_told: set[str] = set()
        self.settled_at: float | None = None
        self.refused_since: float | None = None
        if self.now.phase in ("draining", "ending"):
            self.now.phase = "ending"
        elif self.now.phase not in ("starting", "serving"):
            self._enter("failed" if self.past.failed else "stopped" if self.past.stopped else "gathering")
        self._give_orders()

    # Orders

    def _give_orders(self) -> None:
        """The order of every host follows from the phase alone."""
        for name, link in self.links.items():
            link.order = None if self.now.phase == "deposed" and name != self.head else self._order(name)

    def _order(self, name: str) -> Order:
        now, head = self.now, name == self.head
        order = Order(
            cluster=self.config["cluster"], head=self.head, want="run", life=now.life, restore=now.restore,
            keep=now.life.generation if now.life and now.phase == "serving" and now.stable else None,
        )  # fmt: skip
        if now.phase in ("starting", "serving", "draining") or (now.phase == "ending" and not head):
            # A worker's rank ends after the head's: the engine is the first to know that it is over.
            parts: tuple[Part, ...] = ("ray", "engine") if head else ("ray",)
            return dataclasses.replace(order, start=now.phase == "starting", parts=parts, fallback=self.past.fallback)
        if now.phase == "ending" and now.planned and not now.engine_gone:
            return dataclasses.replace(order, parts=("ray",))
        kill_after = self.config["stop_timeout_seconds"] if now.planned else KILL_SECONDS
        # What is to start next decides how much memory it waits for.
        fallback, fault = self.past.fallback, now.planned is False
        return dataclasses.replace(order, want="stop", fault=fault, fallback=fallback, kill_after=kill_after)

    # What is known

    def _report(self, name: str) -> Report | None:
        """A host's last report, if it was made under the order that holds now."""
        report, order = self.links[name].report, self.links[name].order
        return report if report and order and report.key == order.key else None

    def _silent(self, name: str) -> float:
        """For how long a host has not answered."""
        return self.clock() - self.links[name].heard

    def _quiet(self, seconds: float) -> list[str]:
        """Hosts that have not answered for longer."""
        return [name for name in self.links if self._silent(name) > seconds]

    def _refusal(self, name: str) -> str:
        """Whom a host obeys instead of this head, as it last said; nothing where it did not say so lately."""
        link = self.links[name]
        if link.refusal is None or self.clock() - link.refused > self.config["silence_seconds"]:
            return ""
        return f"{link.refusal} of cluster {link.refusal.cluster}"

    def _unheard(self, quiet: list[str], more: str) -> Reason:
        """That hosts do not answer, as (host, sentence); where no other is heard, the head's own cable is likelier."""
        others = [name for name in self.links if name != self.head]
        if len(others) > 1 and set(others) <= set(quiet):
            return self.head, f"no other host answers {self.head} (its own cable may be out) {more}"
        for name in quiet:
            if refusal := self._refusal(name):
                return name, f"{name} obeys {refusal}, not this head"
        return quiet[0], f"{', '.join(quiet)} {'do' if len(quiet) > 1 else 'does'} not answer {more}"

    def _loss(self) -> Reason | None:
        """Evidence that the life is over, as (host, sentence); nothing while there is none."""
        life = self.now.life
        for name, link in self.links.items():
            report = link.report
            if not report or self._silent(name) > self.config["silence_seconds"]:
                continue
            if self.now.boots.get(name, report.boot) != report.boot:
                return name, f"{name} was started anew"
            if report.started.life == life:
                for part, state in report.parts.items():
                    if state.state == "dead":
                        return name, f"{part} on {name} ended ({_how(state)})"
            elif self.now.phase != "starting" and report.key in (f"{life} run", LEASE_OVER):
                return name, f"{name} has no rank of this life"
            if report.key == LEASE_OVER:
                return name, f"{name} heard nothing from the head and ended its rank"
        return None

    def _wedge(self) -> Reason | None:
        """That the engine hangs, as (host, sentence), with the host that may be why; nothing while it does not."""
        wedged = self.liveness.wedged
        if wedged and (quiet := self._quiet(self.config["silence_seconds"])):
            return self._unheard(quiet, f"while {wedged}")
        return ("", wedged) if wedged else None

    # Steps

    def step(self) -> None:
        """Judge once."""
        self._wish()
        self._mind_refusals()
        steps = {
            "gathering": self._gathering, "starting": self._starting, "serving": self._serving,
            "draining": self._draining, "ending": self._ending,
        }  # fmt: skip
        if self.now.phase in steps:
            steps[self.now.phase]()
        self._give_orders()
        if self.unkept:
            self._remember()
        self._on_disk("what status shows", lambda: self.store.note(self.now, self.picture))

    def _remember(self) -> None:
        """Keep what outlives a boot. A disk that does not take it holds up no judgement: it is tried at each step."""
        self.unkept = not self._on_disk("what outlives a boot", lambda: self.store.remember(self.past))

    def _on_disk(self, what: str, write: Callable[[], object]) -> bool:
        """Write something, and say once that it cannot be, and that it can again; returns whether it was."""
        try:
            write()
        except OSError as error:
            if what not in self.unwritten:
                self._tell(
                    f"gang: {what} cannot be written: {error}. Judgement goes on without; make room on this host."
                )
            self.unwritten.add(what)
            return False
        if what in self.unwritten:
            self._tell(f"gang: {what} can be written again")
            self.unwritten.discard(what)
        return True

    def picture(self) -> dict[str, Any]:
        """Everything that status, metrics and who waits want to know, as JSON's own types."""
        reports = {name: link.report for name, link in self.links.items() if link.report}
        return {
            **plain(self.now),
            "reason": self.now.reason,
            "fallback": self.past.fallback,
            "fallback_name": self._fallback_name(),
            "failures": len(self.past.failures),
            "attempts": self.config["budget"]["attempts"],
            "number": self.past.number,
            "rolled_back": plain(self.past.rolled_back),
            "restarts": self.past.restarts,
            "in_flight": self.liveness.in_flight,
            "misses": self.liveness.misses,
            "handled": self.past.handled,
            "started_in": self.past.started_in,
            "foreign": self._senders((name, report.foreign) for name, report in reports.items()),
            "malformed": self._senders((name, report.malformed) for name, report in reports.items())
            + self._senders((self.head, link.nonsense()) for link in self.links.values()),
            "faults": [{"host": name, **plain(fault)} for name, report in reports.items() for fault in report.faults],
            "hosts": {
                name: {"silent_seconds": round(self._silent(name), 1), **_short(link.report)}
                for name, link in self.links.items()
            },
        }

    def _senders(self, heard: Iterable[tuple[str, tuple[Foreign | Malformed, ...]]]) -> list[dict[str, Any]]:
        """Who sent hosts what they did not obey, by sender, with how often, since when and to whom."""
        senders: dict[tuple[str, str], dict[str, Any]] = {}
        for name, entries in heard:
            moment = self.wall() - self._silent(name)
            for entry in entries:
                count = "orders" if isinstance(entry, Foreign) else "messages"
                head = entry.head if isinstance(entry, Foreign) else ""
                told = plain(entry)
                first, last = moment - told.pop("first_seconds"), moment - told.pop("last_seconds")
                counted = told.pop(count)
                sender = senders.setdefault(
                    (head, entry.address), {**told, count: 0, "since": first, "last": last, "hosts": []}
                )
                sender[count] += counted
                sender["hosts"].append(name)
                sender.update(since=min(sender["since"], first), last=max(sender["last"], last))
        return list(senders.values())

    def _fallback_name(self) -> str:
        number = self.past.fallback
        return str(self.config["fallbacks"][number - 1]["name"]) if number else ""

    def _wish(self) -> None:
        """What an operator or a deploy asked for since."""
        wish = self.store.wish()
        if not wish or wish.id == self.past.handled:
            return
        self.past.handled = wish.id
        phase = self.now.phase
        full = wish.full and self.past.fallback > 0
        if wish.full:
            self.past.fallback = 0
        self.past.stopped = wish.want == "stop"
        if wish.want != "stop":
            self.past.failures, self.past.ends, self.past.failed, self.past.rolled_back = (), (), False, None
            self._forget_attempts()
            self.now.not_before, self.now.restore = 0, None
        self._remember()
        self.now.drain_seconds = wish.drain_seconds
        anew = wish.want in ("stop", "restart") or full
        if phase == "serving" and anew:
            self._drain(wish.reason or f"`{wish.want}` was asked for")
        elif phase == "starting" and anew:
            self._end(f"`{wish.want}` was asked for", planned=True)
        elif phase in ("gathering", "failed") and wish.want == "stop":
            self._enter("stopped")
        elif phase in ("stopped", "failed", "deposed") and wish.want != "stop":
            for link in self.links.values():
                link.refusal = None
            self._enter("gathering", "")

    def _forget_attempts(self) -> None:
        """A new budget begins: what ended the attempts before it is over."""
        self.now.failed_for = self.now.conclusion = self.now.not_put_back = None

    def _mind_refusals(self) -> None:
        """Stand down when every other host has obeyed another head for a while.

        A deploy that moves the head reaches the hosts within seconds of each other, so that those which it has not
        reached yet refuse the new head for a moment.
        """
        others = [name for name in self.links if name != self.head]
        if self.now.phase == "deposed" or not others or not all(self._refusal(name) for name in others):
            self.refused_since = None
        elif self.refused_since is None:
            self.refused_since = self.clock()
        elif self.clock() - self.refused_since > self.config["silence_seconds"]:
            self._stand_down(sorted({self._refusal(name) for name in others}))

    def _stand_down(self, heads: list[str]) -> None:
        """End the own rank and order nobody; no attempt is spent, as none could come to anything."""
        self.now.incident, self.now.restore, self.now.engine_gone, self.now.planned = None, None, False, True
        self._move_door(2)
        self._enter("deposed", f"every other host obeys {', '.join(heads)}")

    def leave(self) -> bool:
        """The supervisor itself is to stop, as at a shutdown: serve no more; true when every rank is gone."""
        self.now.leaving = True
        if self.now.phase == "serving":
            self._drain("the head is to stop")
        elif self.now.phase == "starting":
            self._end("the head is to stop", planned=True)
        if self.now.phase not in ("gathering", "stopped", "failed", "deposed"):
            return False
        # A host that does not hear of it ends its rank when its lease is over.
        late = self.clock() - self.now.began > self.config["lease_seconds"]
        reports = {name: self._report(name) for name in self.links}
        if self.now.phase == "deposed":
            own = reports[self.head]
            return late or bool(own and own.idle)
        return late or self.now.phase != "gathering" or all(report and report.idle for report in reports.values())

    def _gathering(self) -> None:
        self._close_incident()
        if self.now.leaving or self.now.phase != "gathering":
            return
        waiting = []
        described = {}
        for name in self.links:
            report = self._report(name)
            if refusal := self._refusal(name):
                waiting.append(f"{name} obeys {refusal}, not this head")
            elif self._silent(name) > self.config["silence_seconds"] or (known := self.links[name].report) is None:
                waiting.append(f"{name} does not answer over the fabric")
            elif report is None or not report.idle:
                lives = ", ".join(known.lives)
                waiting.append(f"{name} still ends {lives or 'its units'}")
            else:
                waiting += [f"{name}: {need}" for need in report.needs]
                if report.leaving:
                    waiting.append(f"{name} is to stop")
                described[name] = report.described
        waiting += self._to_put_back(described)
        if not waiting and len(set(described.values())) > 1:
            says = ", ".join(f"{name} {generation or 'none'}" for name, generation in described.items())
            waiting.append(f"hosts describe different generations: {says}; a deploy has not ended")
        if not waiting and None in described.values():
            waiting.append("nothing has been deployed yet")
        self.now.waiting = tuple(waiting)
        if waiting or self.now.incident:
            return
        generation = described[self.head]
        if generation is not None and self.clock() >= self.now.not_before:
            self._begin(generation)

    def _to_put_back(self, described: Mapping[str, Generation | None]) -> list[str]:
        """Hosts that have not put the kept generation back yet, each in a sentence; none once somebody has deployed
        another since, which is never undone."""
        wanted, failed = self.now.restore, self.now.life.generation if self.now.life else None
        if wanted is None:
            return []
        if set(described.values()) <= {wanted, failed}:
            left = sorted(name for name, generation in described.items() if generation != wanted)
            if left or len(described) < len(self.links):
                return [f"{name} has not put generation {wanted} back yet" for name in left]
        self.now.restore = None
        return []

    def _begin(self, generation: Generation) -> None:
        number = self._last_number() + 1
        try:
            self.store.remember(dataclasses.replace(self.past, number=number))
        except OSError as error:  # Without it the next life could bear the name of this one.
            self.now.waiting = (f"{self.head}: the state cannot be written: {error}",)
            return
        self.past.number, self.now.life = number, Life(generation, number)
        self.now.boots = {name: link.report.boot for name, link in self.links.items() if link.report}
        self.now.begun, self.now.served = self.clock(), 0
        self.now.deadline = self.clock() + self.config["start_timeout_seconds"] + 60
        self.now.planned = self.now.engine_gone = self.now.stable = False
        self.liveness.begin()
        self._move_door(2)
        self._enter("starting", "")

    def _last_number(self) -> int:
        """The highest number of a life that anybody knows of: what this host remembers may be lost."""
        reports = [link.report for link in self.links.values() if link.report]
        lives = [report.started.life for report in reports]
        lives += [report.evidence.life for report in reports if report.evidence]
        return max(self.past.number, *(life.number for life in (self.now.life, *lives) if life), 0)

    def _starting(self) -> None:
        # Who has just fallen silent is named too, though only a lease that is over ends a start.
        quiet = self._quiet(min(self.config["silence_seconds"], self.config["lease_seconds"]))
        if loss := self._loss():
            self._end(loss[1], host=loss[0])
        elif any(self._silent(name) > self.config["lease_seconds"] for name in quiet):
            host, reason = self._unheard(quiet, "over the fabric")
            self._end(reason, host=host, counts=False)
        elif any(link.report and link.report.leaving for link in self.links.values()):
            self._end("a host is to stop", planned=True)
        elif self.clock() > self.now.deadline:
            self._end(f"no completion within {self.config['start_timeout_seconds']} s")
        elif self._answers():
            self.liveness.begin()
            self.now.served = self.clock()
            self.past.started_in = round(self.clock() - (self.now.begun or self.clock()))
            self._enter("serving", "")
            self._move_door(0)

    def _answers(self) -> bool:
        """Whether the engine of this life has answered a completion: its unit is active."""
        report = self.links[self.head].report
        if report is None or report.started.life != self.now.life or "engine" not in report.parts:
            return False
        return report.parts["engine"].state == "active"

    def _serving(self) -> None:
        now = self.clock()
        if lost := self._loss() or self._wedge():
            self._end(lost[1], host=lost[0])
            return
        quiet = self._quiet(self.config["silence_seconds"])
        for name, link in self.links.items():
            silent = self._silent(name)
            if silent <= self.config["silence_seconds"]:
                self.quiet_told.discard(name)
            elif not self.liveness.alive_since(now - self.config["silence_seconds"]):
                self.liveness.urge(URGENT_SECONDS)
                patience = URGENT_SECONDS + 2
                if silent > self.config["silence_seconds"] + patience and not self.liveness.alive_since(now - patience):
                    host, reason = self._unheard(quiet, f"for {silent:.0f} s, and no token comes")
                    self._end(reason, host=host)
                    return
            elif name not in self.quiet_told:
                self.quiet_told.add(name)
                self.tell(f"{name} does not answer, but tokens come from all ranks: its supervisor is to be looked at")
            if link.report and link.report.leaving:
                self._drain(f"{name} is to stop")
                return
        if not self.now.stable and now - self.now.served > self.config["budget"]["stable_seconds"]:
            self.now.stable = True
            self.past.failures = ()
            self.past.good = self.now.life.generation if self.now.life else None
            self._forget_attempts()
            self._remember()

    def _drain(self, reason: str) -> None:
        asked = self.now.drain_seconds
        self.now.drain_until = self.clock() + (self.config["drain_timeout_seconds"] if asked is None else asked)
        self.now.closed = self.clock()
        self.settled_at = None
        self._enter("draining", reason)
        self._move_door(1)

    def _draining(self) -> None:
        now = self.clock()
        if lost := self._loss() or self._wedge():
            self._end(lost[1], host=lost[0])
            return
        if now - self.now.closed >= DRAIN_STEP_SECONDS:
            self._move_door(2)
        in_flight = self.liveness.in_flight
        # An engine that does not say how many requests run is not one that runs none.
        if self.liveness.answered_at <= self.now.closed + DRAIN_STEP_SECONDS or in_flight != 0:
            self.settled_at = None
        elif self.settled_at is None:
            self.settled_at = now
        settled = self.settled_at is not None and now - self.settled_at >= SETTLED_SECONDS
        if settled or now > self.now.drain_until:
            self.now.cut = cut = None if in_flight is None else int(in_flight)
            told = "how many requests were cut off is unknown" if cut is None else f"{cut} requests cut off"
            self.tell(f"drained in {now - self.now.closed:.0f} s, {told}")
            self._end(self.now.reason or "", planned=True)

    def _ending(self) -> None:
        """First the head: the engine, which is rank 0's driver, then its Ray; the workers follow in `gathering`."""
        report = self._report(self.head)
        if not report:
            return
        if self.now.planned and not self.now.engine_gone:
            if "engine" not in report.parts or report.parts["engine"].state in ("dead", "down"):
                self.now.engine_gone = True
            return
        if report.idle:
            # A gang that is to stop is written down first; the workers' ranks end in either phase.
            self._enter("stopped" if self.past.stopped else "gathering", self.now.reason)

    def _end(self, reason: str, host: str = "", planned: bool = False, counts: bool = True) -> None:
        """End the life; an unplanned end is an incident, and an attempt if it was one."""
        started = self.now.phase == "starting"
        self.now.planned, self.now.engine_gone = planned, False
        self._move_door(2)
        if planned or self.now.life is None:
            self._enter("ending", reason)
            return
        wall = self.wall()
        self.past.restarts += 1
        self.past.ends = (*(end for end in self.past.ends if wall - DAY < end <= wall), wall)
        self._remember()
        self.now.incident = Incident(
            life=self.now.life, time=wall, reason=reason, host=host, phase=self.now.phase,
            starting=started, counts=counts, until=self.clock() + EVIDENCE_SECONDS,
        )  # fmt: skip
        self._enter("ending", reason)

    def _attempt(self, incident: Incident) -> bool:
        """Whether a life that ended was a failed attempt of its generation, and not only a host that went away."""
        if not incident.counts or self.now.stable:
            return False
        return all(
            self._silent(name) <= self.config["silence_seconds"]
            and link.report is not None
            and link.report.boot == self.now.boots.get(name)
            for name, link in self.links.items()
        )

    def _spend(self) -> None:
        """Hold the budget: so many attempts in a row without lasting service, so many ends in a day."""
        budget = self.config["budget"]
        attempts, ends = len(self.past.failures), len(self.past.ends)
        if attempts < budget["attempts"] and ends < budget["daily"]:
            return
        self.past.failed = True
        spent = f"{attempts} attempts" if attempts >= budget["attempts"] else f"{ends} restarts within a day"
        self.now.spent = f"{spent}; the last: {self.now.reason}"
        if kept_back := self.now.not_put_back:
            self.now.spent += f"; {kept_back}"
        self.tell(f"the budget is spent: {self.now.spent}. `gx10 start` resumes.")
        self.store.alert("failed", self.now.spent)
        self._enter("failed")

    def _close_incident(self) -> None:
        """Write down what the hosts say of the life that ended, and draw the conclusions."""
        incident = self.now.incident
        if not incident:
            return
        witnesses = {
            name: link.report
            for name, link in self.links.items()
            if link.report and link.report.evidence and link.report.evidence.life == incident.life
        }
        if len(witnesses) < len(self.links) and self.clock() < incident.until:
            return
        self.now.incident = None
        evidence = {name: report.evidence for name, report in witnesses.items() if report.evidence}
        offsets = {name: self.links[name].offset for name in witnesses}
        out_of_memory = any(told.out_of_memory for told in evidence.values())
        attempt = self._attempt(incident)
        if attempt:
            self.past.failures = (*self.past.failures, incident.time)
            self.now.failed_for = incident.reason
            self.now.not_before = self.clock() + min(60, 5 * 2 ** (len(self.past.failures) - 1))
        conclusion = ""
        if attempt and incident.starting:
            conclusion = self._step_down() if out_of_memory else ""
            conclusion = conclusion or self._roll_back(incident)
        if conclusion:
            self.now.conclusion = conclusion
        self._spend()
        self._remember()
        record = {
            **plain(incident),
            "evidence": {
                name: {**plain(told), "parts": plain(witnesses[name].started), "clock_offset": offsets[name]}
                for name, told in evidence.items()
            },
            "out_of_memory": out_of_memory,
            "first": _first(evidence, offsets),
            "silent": [name for name in self.links if name not in witnesses],
            **({"conclusion": conclusion} if conclusion else {}),
            "attempt": attempt,
            "failed": self.past.failed,
        }
        self._on_disk("an incident", lambda: self.store.incident(record))

    def _step_down(self) -> str:
        """Give up one thing more for the next start; says so, or nothing where nothing is left to give up."""
        if self.past.fallback >= len(self.config["fallbacks"]):
            return ""
        self.past.fallback += 1
        self.past.failures = self.past.failures[:-1]
        conclusion = f"out of memory: the next start goes on with fallback `{self._fallback_name()}`"
        self.tell(conclusion)
        return conclusion

    def _roll_back(self, incident: Incident) -> str:
        """Put the generation back that served last, once, when its successor does not start; says what came of it."""
        generation, good = incident.life.generation, self.past.good
        if not good or good == generation or self.past.rolled_back:
            return ""
        if len(self.past.failures) < self.config["budget"]["rollback_after"]:
            return ""
        reports = [link.report for link in self.links.values()]
        if any(report is None or report.kept != good for report in reports):
            return self._keep_back(f"generation {good} is not kept on every host, so it cannot be put back")
        memberships = [report.kept_for for report in reports if report]
        if others := [membership for membership in memberships if membership != self.membership]:
            changes = _changes(others[0], self.membership)
            return self._keep_back(f"generation {good} is not put back, as it cannot serve here: {changes}")
        self.past.rolled_back = RolledBack(failed=generation, to=good, time=self.wall(), reason=incident.reason)
        self.past.failures, self.past.failed, self.past.fallback = (), False, 0
        self.now.restore = good
        conclusion = f"generation {generation} did not start: {good} is put back"
        self.tell(conclusion)
        self.store.alert("rolled-back", conclusion)
        return conclusion

    def _keep_back(self, sentence: str) -> str:
        self.now.not_put_back = sentence
        return sentence

    def _move_door(self, step: int) -> None:
        if problem := self.door.move(step):
            self.tell(problem)

    def _enter(self, phase: Phase, reason: str | None = None) -> None:
        self.now.phase, self.now.since, self.now.began, self.now.waiting = phase, self.wall(), self.clock(), ()
        if reason is not None:
            self.now.reason = reason
        told = f" ({self.now.reason})" if self.now.reason else ""
        self.tell(f"{phase} {self.now.life or ''}{told}")

    def tell(self, text: str) -> None:
        """One line for the journal, not twice in a row."""
        if text != self.told:
            self._tell(f"gang: {text}")
            self.told = text


def _first(evidence: Mapping[str, Evidence], offsets: Mapping[str, float]) -> dict[str, Any] | None:
    """The part that ended first, by the head's clock; nothing where all of them had to be ended."""
    ended = [
        (round(state.when - offsets[name], 2), name, part, _how(state))
        for name, told in evidence.items()
        for part, state in told.ended.items()
    ]
    return dict(zip(("time", "host", "part", "how"), min(ended), strict=True)) if ended else None


def _how(state: PartState) -> str:
    if state.code in ("2", "3"):
        return f"signal {state.status}"
    return f"status {state.status or '0'}, {state.result or 'unknown'}"


def _changes(was: Membership | None, now: Membership) -> str:
    """How one membership became another, in words."""
    if not was:
        return "which hosts it served on was not written down"
    hosts, others = now.hosts, was.hosts
    changes = [f"its head was {was.head}, now it is {now.head}"] if was.head != now.head else []
    changes += [f"{name} belonged to it and is no member now" for name in sorted(others.keys() - hosts.keys())]
    changes += [f"{name} is a member now" for name in sorted(hosts.keys() - others.keys())]
    changes += [
        f"{name} was at {others[name]}, now it is at {hosts[name]}"
        for name in sorted(hosts.keys() & others.keys())
        if hosts[name] != others[name]
    ]
    return "; ".join(changes)


def _short(report: Report | None) -> dict[str, Any]:
    """Of a report what status shows."""
    keys = ("described", "kept", "lives", "idle", "parts", "available_gib", "needs", "leaving")
    document = plain(report) if report else {}
    return {key: document[key] for key in keys if key in document}

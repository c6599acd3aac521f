"""What a run does about each difference: put back, wait for the restart, tell, or leave alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from .classes import Drift
from .findings import Finding, Item
from .policy import Hold


class Decision(StrEnum):
    """What happens to a difference."""

    PUT_BACK = "put back"
    RESTART = "restart"
    """Put back together with the gang's restart."""
    PUT_OFF = "put off"
    REPORT = "report"
    HANDS_OFF = "hands off"
    """Came back too often, or could not be put back too often."""


@dataclass(frozen=True)
class Decided:
    """A difference and what happens to it. An item of several classes or decisions is several of these."""

    item: Item
    drift: Drift
    """Its class once it is known whether the generation has moved."""
    decision: Decision
    reason: str = ""
    corrective: bool = True
    """Whether somebody touched the host, as opposed to a description that moved."""


@dataclass(frozen=True)
class Situation:
    """What decides about a restart."""

    reachable: bool
    """Whether every host answered."""
    serving: bool
    """Whether the engine is active, so that a request could be cut off."""
    window_closes: datetime | None
    """When the open window closes; None when none is open."""
    window_opens: datetime | None = None
    """When the next one opens."""
    seconds_needed: float = 0
    """How long drain and start may take."""
    restarted: bool = False
    """Whether this run has restarted the gang already: once is enough."""


def generation_moved(items: Iterable[Item]) -> bool:
    """Whether what configures the gang waits for a restart with it.

    It does where both are due: with the running generation as described, a file of the gang that differs was touched on
    the host, and goes back at once.
    """
    found = list(items)
    return any(item.drift is Drift.GANG for item in found) and any(item.drift is Drift.RESTART for item in found)


def resolved(items: Iterable[Item]) -> tuple[tuple[Item, Drift], ...]:
    """Items with their class, once it is known whether the generation has moved."""
    found = tuple(items)
    of_gang = Drift.RESTART if generation_moved(found) else Drift.HEAL
    return tuple((item, of_gang if item.drift is Drift.GANG else item.drift) for item in found)


def keys(item: Item) -> tuple[str, ...]:
    """Names under which the differences of an item are remembered."""
    return tuple(f"{item.key}: {finding.subject}" for finding in item.findings)


def put_off_because(situation: Situation, artifacts_missing: Iterable[Item]) -> str:
    """Why the gang is not restarted now; nothing when it may be. Draining comes after it."""
    missing = tuple(artifacts_missing)
    if situation.restarted:
        return "the gang was restarted in this run already"
    if not situation.reachable:
        return "a host does not answer"
    if missing:
        return f"{missing[0].operation} is not done on {missing[0].host}"
    if not situation.serving:
        return ""
    if situation.window_closes is None:
        when = f"; it opens {situation.window_opens:%a %Y-%m-%d %H:%M %Z}" if situation.window_opens else ""
        return f"the window is closed{when}"
    return ""


def decide(
    items: Iterable[Item],
    *,
    restart: str,
    corrective: bool,
    flapping: Mapping[str, int],
    resting: Mapping[str, str],
) -> tuple[Decided, ...]:
    """What happens to each difference.

    `restart` says why restarts are put off, and is empty when they may happen. `flapping` and `resting` are what the
    memory says by key: nights in a row, and the night from which it is tried again.
    """
    decided: list[Decided] = []
    for item, drift in resolved(items):
        parts: dict[tuple[Decision, str], list[Finding]] = {}
        for finding, key in zip(item.findings, keys(item), strict=True):
            parts.setdefault(_one(drift, key, restart, flapping, resting), []).append(finding)
        for (decision, reason), findings in parts.items():
            part = Item(item.operation, item.host, item.drift, tuple(findings), item.changes, item.artifact)
            decided.append(Decided(part, drift, decision, reason, corrective))
    return tuple(decided)


def _one(
    drift: Drift, key: str, restart: str, flapping: Mapping[str, int], resting: Mapping[str, str]
) -> tuple[Decision, str]:
    if drift is Drift.REBOOT:
        return Decision.REPORT, "needs a reboot"
    if drift is Drift.REPORT:
        return Decision.REPORT, ""
    if nights := flapping.get(key):
        return Decision.HANDS_OFF, f"came back on {nights} nights in a row"
    if night := resting.get(key):
        return Decision.HANDS_OFF, f"could not be put back several times; tried again from {night}"
    if drift is Drift.RESTART:
        return (Decision.PUT_OFF, restart) if restart else (Decision.RESTART, "")
    return Decision.PUT_BACK, ""


def holds(decided: Iterable[Decided]) -> tuple[Hold, ...]:
    """What a deploy must leave alone so that it does what was decided."""
    left = (Decision.PUT_OFF, Decision.HANDS_OFF)
    return tuple(
        Hold(one.reason, _literal(one.item.operation), _literal(one.item.host), _literal(subject))
        for one in decided
        if one.decision in left
        for subject in one.item.subjects
    )


def _literal(name: str) -> str:
    """A name as a pattern that means just itself."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)

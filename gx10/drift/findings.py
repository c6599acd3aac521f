"""What a run found, operation by operation and host by host, as the deploy itself wrote it down.

The deploy appends one JSON line for each operation that it looked at on a host. The line says what differs by name and
digest; contents never stand in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .classes import Drift


@dataclass(frozen=True, order=True)
class Finding:
    """One thing on one host that is not as described."""

    subject: str
    """What differs: a path, a unit, a parameter."""
    found: str = ""
    described: str = ""
    drift: Drift = Drift.HEAL
    left: str = ""
    """Why it was not acted on: an ignore rule or what the run put off; nothing when it was."""


@dataclass(frozen=True)
class Looked:
    """One operation, as the deploy evaluated it on one host."""

    stage: str
    """`plan` or `apply`."""
    host: str
    operation: str
    function: str
    drift: Drift
    artifact: bool
    changes: bool
    """Whether it yielded a command."""
    findings: tuple[Finding, ...]


@dataclass
class Journal:
    """What a deploy wrote down: operations as they were looked at, and events of the run."""

    looked: list[Looked] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Journal:
        """Read what there is; the last line of a killed run may be cut short, and is left out."""
        journal = cls()
        if not path.exists():
            return journal
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                told = json.loads(line)
            except ValueError:
                continue
            journal._add(told)
        return journal

    def _add(self, told: dict[str, Any]) -> None:
        if "event" in told:
            self.events.append(told)
            return
        findings = tuple(Finding(**{**one, "drift": Drift(one["drift"])}) for one in told.pop("findings"))
        self.looked.append(Looked(**{**told, "drift": Drift(told["drift"]), "findings": findings}))

    def hosts(self, stage: str) -> set[str]:
        """Hosts on which at least one operation was looked at in a stage."""
        return {one.host for one in self.looked if one.stage == stage}

    def changing(self, stage: str) -> set[tuple[str, str]]:
        """Pairs of operation and host that would change, or have changed, something."""
        return {(one.operation, one.host) for one in self.looked if one.stage == stage and one.changes}

    def of(self, *kinds: str) -> Iterator[dict[str, Any]]:
        """Events of some kinds, in their order."""
        return (event for event in self.events if event["event"] in kinds)


@dataclass(frozen=True)
class Item:
    """What one operation found on one host: the unit of the plan, of the policy and of the report."""

    operation: str
    host: str
    drift: Drift
    findings: tuple[Finding, ...]
    changes: bool
    """Whether the operation acts on it when it is let."""
    artifact: bool = False

    @property
    def key(self) -> str:
        """Name of the item from night to night."""
        return f"{self.host}: {self.operation}"

    @property
    def subjects(self) -> tuple[str, ...]:
        """Names of what differs."""
        return tuple(finding.subject for finding in self.findings)


def items(looked: Iterable[Looked]) -> tuple[Item, ...]:
    """Items of a plan: whatever would change something or found something. Findings that an ignore rule names stay out.

    An operation may find things of a dearer class than its own; they make an item of their own.
    """
    found: list[Item] = []
    for one in looked:
        told = [finding for finding in one.findings if not finding.left]
        by_class: dict[Drift, list[Finding]] = {}
        for finding in told:
            by_class.setdefault(finding.drift, []).append(finding)
        if one.changes and not told:
            by_class[one.drift] = [Finding(one.operation, drift=one.drift)]
        found.extend(
            Item(one.operation, one.host, drift, tuple(findings), one.changes, one.artifact)
            for drift, findings in by_class.items()
        )
    return tuple(found)


def ignored(looked: Iterable[Looked]) -> tuple[tuple[Looked, Finding], ...]:
    """Findings that were left alone, with where they were found."""
    return tuple((one, finding) for one in looked for finding in one.findings if finding.left)

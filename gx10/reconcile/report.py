"""The report of one run: a versioned document, written from the first second on.

`docs/report.md` describes it for readers; the version grows when a field changes its meaning or goes away.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Literal

from gx10_host.write.whole import write_whole
from pydantic import BaseModel, ConfigDict, Field

from gx10.drift.classes import Drift
from gx10.drift.classify import Decision
from gx10.drift.verdict import Status

VERSION: Literal[1] = 1


class Part(BaseModel):
    """A part of a report. Readers of an older version find no key they do not know."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class TransferReport(Part):
    """What one transfer to a host came to: a link that has become slow shows beside the other hosts'."""

    what: str
    """The image or the weights."""
    bytes: int
    """Bytes that other hosts sent."""
    seconds: float
    """How long that took."""


class HostReport(Part):
    """One host."""

    reachable: bool | None = None
    """Whether it answered; null while nobody has asked."""
    reason: str = ""
    """Why it did not."""
    reboot_pending: bool = False
    """Whether something waits for a reboot."""
    transfers: list[TransferReport] = Field(default_factory=list)
    """What came to it over the fabric in this run."""


class Difference(Part):
    """One thing that is not as described, by name and digest; contents never stand in a report."""

    subject: str
    """What differs: a path, a unit, a kernel parameter."""
    found: str = ""
    """What was found."""
    described: str = ""
    """What is described."""


class OperationReport(Part):
    """What one operation found on one host, and what became of it."""

    name: str
    """The operation's name in the deploy."""
    host: str
    """Where it looked."""
    drift: Drift
    """Class of what it found."""
    decision: Decision
    """What was decided about it."""
    reason: str = ""
    """Why it was put off or left alone."""
    corrective: bool = True
    """True when somebody touched the host, false when the description moved since the last good apply."""
    differences: list[Difference] = Field(default_factory=list)
    """What differs."""
    predicted: bool = False
    """Whether the plan said that a deploy would change it."""
    applied: bool = False
    """Whether this run changed it."""
    result: Literal["ok", "changed", "failed", "skipped"] = "skipped"
    """`changed` was put back, `ok` needed nothing any more, `failed` was tried, `skipped` was not touched."""
    seconds: float = 0
    """How long it took."""


class IgnoredReport(Part):
    """A difference that an ignore rule names."""

    name: str
    """The operation that found it."""
    host: str
    """Where."""
    subject: str
    """What differs."""
    reason: str
    """The rule's reason."""


class StepReport(Part):
    """One step of the run."""

    name: str
    """`reach`, `sample`, `plan`, `apply`, `drain`, `restart`, `prove`."""
    seconds: float
    """How long it took."""
    told: str = ""
    """What it came to."""


class Health(Part):
    """Whether the model is served."""

    serving: bool | None = None
    """Whether the engine is active; null when nobody could ask."""
    completion: bool | None = None
    """Whether it answered a completion; null when it was not asked."""
    completion_seconds: float = 0
    """How long the completion took."""
    told: str = ""
    """What it, or its unit, said."""


class Report(Part):
    """One run of `gx10 plan` or `gx10 reconcile`."""

    version: Literal[1] = VERSION
    """Version of this schema."""
    run: str
    """Name of the run: when it started, in UTC, and its process."""
    cluster: str
    """Name of the cluster."""
    mode: Literal["plan", "reconcile"]
    """Whether it only looked."""
    revision: str = ""
    """The checkout's revision, or what stands in for it where there is none."""
    description: str = ""
    """Digest of everything described."""
    applied_description: str = ""
    """Digest that the last good apply left on the head."""
    status: Status = Status.FAILED
    """What the run came to. A run that died says `failed`."""
    reason: str = ""
    """Why, in a sentence, where it is not plain from the rest."""
    exit_status: int = 1
    """Exit status of the command."""
    started: datetime
    """When it began."""
    finished: datetime | None = None
    """When it ended; null in the report of a run that died."""
    hosts: dict[str, HostReport] = Field(default_factory=dict)
    """Every host of the cluster."""
    operations: list[OperationReport] = Field(default_factory=list)
    """Everything that was found. Empty means that nothing was."""
    ignored: list[IgnoredReport] = Field(default_factory=list)
    """What was found and left alone because a rule says so."""
    unpredicted: list[str] = Field(default_factory=list)
    """What was changed without having been predicted, or predicted and not changed. Empty is how it must be."""
    left: list[str] = Field(default_factory=list)
    """What the last plan of the run still found."""
    flapping: list[str] = Field(default_factory=list)
    """What came back on too many nights in a row."""
    restart_pending: bool = False
    """Whether a restart of the gang is due and was put off."""
    restart_pending_since: datetime | None = None
    """Since when."""
    restarted: bool = False
    """Whether this run restarted the gang."""
    generation_before: str = ""
    """Digest of the generation that was running."""
    generation_after: str = ""
    """Digest of the generation that is."""
    health_before: Health = Health()
    """Whether the model was served."""
    health_after: Health = Health()
    """Whether it is."""
    suspended_until: datetime | None = None
    """Until when the reconciler is suspended; null when it is not."""
    suspended_reason: str = ""
    """Why."""
    lock_holder: str = ""
    """Who held the lock, where somebody else did."""
    steps: list[StepReport] = Field(default_factory=list)
    """What was done when, with its time."""

    def write(self, path: Path) -> None:
        """Write the report whole, readable by its group: it names hosts and files."""
        write_whole(path, f"{self.model_dump_json(indent=1)}\n".encode(), mode=0o640)

    @classmethod
    def read(cls, path: Path) -> Report:
        """A report that was written; raises ValueError where it is of another version."""
        told = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(told, dict) or told.get("version") != VERSION:
            version = told.get("version") if isinstance(told, dict) else "none"
            raise ValueError(f"{path} is a report of version {version}, expected {VERSION}")
        return cls.model_validate(told)

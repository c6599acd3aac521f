"""What a run may act on. Without a policy, as in a deploy by hand, everything but what the ignore rules name."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from .classes import Drift

RUN = "GX10_RUN"
"""Environment variable: the directory of a run, with its policy and its journal."""
POLICY_FILE, JOURNAL_FILE = "policy.json", "journal.jsonl"


@dataclass(frozen=True)
class Hold:
    """Something that is not acted on, and why. The three names are patterns as a shell has them."""

    reason: str
    operation: str = "*"
    host: str = "*"
    subject: str = "*"

    def covers(self, operation: str, host: str, subject: str) -> bool:
        """Whether this is about a finding. An operation is meant with or without its phase in front."""
        bare = operation.rpartition(" | ")[2]
        named = fnmatchcase(operation, self.operation) or fnmatchcase(bare, self.operation)
        return named and fnmatchcase(host, self.host) and fnmatchcase(subject, self.subject)


@dataclass(frozen=True)
class Policy:
    """What a run may act on."""

    restart: bool = True
    """Whether the gang may be restarted."""
    restart_reason: str = ""
    """Why it may not."""
    holds: tuple[Hold, ...] = ()
    """What is left alone, by ignore rules or for this run."""
    skipped: tuple[str, ...] = ()
    """Functions of operations that the run itself takes over, such as the completion at the end."""

    def left(self, operation: str, host: str, subject: str, drift: Drift) -> str:
        """Why a finding is left alone; nothing when it may be acted on."""
        for hold in self.holds:
            if hold.covers(operation, host, subject):
                return hold.reason
        if drift is Drift.RESTART and not self.restart:
            return self.restart_reason or "restarts are put off"
        return ""

    def with_holds(self, holds: Iterable[Hold]) -> Policy:
        """The policy with more that is left alone."""
        return Policy(self.restart, self.restart_reason, (*self.holds, *holds), self.skipped)

    def write(self, directory: Path) -> None:
        """Write the policy where the deploy of this run reads it."""
        (directory / POLICY_FILE).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, directory: Path) -> Policy:
        """The policy of a run; raises OSError or ValueError, since a run without one must not act on everything."""
        told = json.loads((directory / POLICY_FILE).read_text(encoding="utf-8"))
        holds = tuple(Hold(**hold) for hold in told.pop("holds"))
        return cls(**{**told, "holds": holds, "skipped": tuple(told["skipped"])})


def run_directory() -> Path | None:
    """Directory of the run that this process is part of; None in a deploy by hand."""
    named = os.environ.get(RUN)
    return Path(named) if named else None

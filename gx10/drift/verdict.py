"""How a run ends: its status in the report, and the exit status that a script can act on."""

from __future__ import annotations

from enum import StrEnum

IN_SYNC, ERROR, DRIFT, USAGE, LOCKED = 0, 1, 2, 64, 75
INTERRUPTED = 128
"""Added to a signal's number: 130 for SIGINT, 143 for SIGTERM."""


class Status(StrEnum):
    """What a run came to. It starts as failed, and only what was seen makes it anything else."""

    FAILED = "failed"
    UNKNOWN = "unknown"
    """A host did not answer, or could not be judged."""
    IN_SYNC = "in sync"
    HEALED = "healed"
    """Differences were found, and all were put back."""
    DRIFTED = "drifted"
    """Differences were found by a plan, or left by a run."""
    SUSPENDED = "suspended"
    LOCKED = "locked"


EXIT = {
    Status.FAILED: ERROR,
    Status.UNKNOWN: ERROR,
    Status.IN_SYNC: IN_SYNC,
    Status.HEALED: IN_SYNC,
    Status.DRIFTED: DRIFT,
    Status.SUSPENDED: IN_SYNC,
    Status.LOCKED: LOCKED,
}


def judge(*, all_known: bool, proven: bool, found: int, left: int) -> Status:
    """The status of a run that came to its end.

    `proven` is whether the plan was read whole and, after an apply, completion and node checks passed; `found` and
    `left` count differences before and after. Ignored ones count as neither.
    """
    if not all_known:
        return Status.UNKNOWN
    if not proven:
        return Status.FAILED
    if left:
        return Status.DRIFTED
    return Status.HEALED if found else Status.IN_SYNC

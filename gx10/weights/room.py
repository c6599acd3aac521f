"""Disk arithmetic before a byte moves: what each host needs, has, could free, and is short by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

GIB = 2**30


@dataclass(frozen=True)
class Room:
    """One host's model partition against what is to come, in bytes."""

    host: str
    need: int
    """What the weights still take here."""
    have: int
    """What is free."""
    reserve: int
    """What must stay free (models.min_free_gib)."""
    freeable: int
    """What the policy lets a clean-up remove."""

    @property
    def to_free(self) -> int:
        """What a clean-up must remove: only as much as is needed, and nothing where nothing is to come."""
        return max(0, self.need + self.reserve - self.have) if self.need else 0

    @property
    def short(self) -> int:
        """What is missing even when everything that may go is gone."""
        return max(0, self.to_free - self.freeable)

    @property
    def wanted_free(self) -> int:
        """Free bytes that a clean-up must reach."""
        return self.need + self.reserve


def table(rooms: Iterable[Room]) -> list[str]:
    """The arithmetic of all hosts, as lines of equal columns in GiB."""
    rows: list[tuple[str, ...]] = [("host", "need", "stay free", "have", "would be freed", "short by")]
    for room in rooms:
        freed = min(room.to_free, room.freeable)
        amounts = (room.need, room.reserve, room.have, freed, room.short)
        rows.append((room.host, *(f"{amount / GIB:.2f}" for amount in amounts)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) if not index else cell.rjust(width) for index, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in rows)
    ]


def refusal(title: str, root: str, rooms: Iterable[Room]) -> list[str]:
    """Why the weights cannot be staged, with the table and what to do; empty where they fit."""
    told = list(rooms)
    short = [room for room in told if room.short]
    if not short:
        return []
    most = max(short, key=lambda room: room.short)
    return [
        f"{title} does not fit into {root} on {', '.join(room.host for room in short)} (GiB):",
        *table(told),
        f"Free {most.short / GIB:.2f} GiB on {most.host}: `gx10 models list` shows what lies there, "
        "`gx10 models clean --named PATH` removes a model by name, models.clean in the cluster file says what may go "
        "by itself.",
    ]

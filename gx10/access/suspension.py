"""Suspended: no run changes anything until a moment, for a reason that everybody sees. It is kept on the head."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from gx10.described.description import Description
from gx10.printable import printable

from .remote import Answer, run

SPAN = re.compile(r"^(\d+)([hdw])$")
HOURS = {"h": 1, "d": 24, "w": 24 * 7}
LONGEST = timedelta(days=90)


@dataclass(frozen=True)
class Suspension:
    """Why and until when."""

    reason: str
    until: datetime
    owner: str

    @classmethod
    def read(cls, told: object, now: datetime) -> Suspension | None:
        """What stands on the head, while it lasts; raises ValueError where that cannot be read."""
        if told is None:
            return None
        if not isinstance(told, dict):
            raise ValueError(f"the suspension on the head cannot be read: {told}")  # noqa: TRY004 - as all that cannot be read
        try:
            found = cls(printable(told["reason"]), datetime.fromisoformat(told["until"]), printable(told["owner"]))
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError(f"the suspension on the head cannot be read: {error}") from None
        if found.until.tzinfo is None:
            raise ValueError(f"the suspension on the head cannot be read: {told['until']!r} has no time zone")
        return found if now < found.until else None

    def told(self) -> dict[str, Any]:
        """As it stands on the head."""
        return {"reason": printable(self.reason), "until": self.until.isoformat(), "owner": self.owner}


def until(text: str, now: datetime) -> datetime:
    """A moment from `12h`, `3d`, `2w` or an ISO date and time; raises ValueError for the past and for ever."""
    if span := SPAN.match(text):
        # One more than the longest is refused below, and is never more than a date can be.
        hours = min(int(span[1][:9]) * HOURS[span[2]], LONGEST.days * 24 + 1)
        moment = now + timedelta(hours=hours)
    else:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"{text} is no moment: write 12h, 3d, 2w or 2027-01-31T06:00") from None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo or UTC)
    if not now < moment <= now + LONGEST:
        raise ValueError(f"{text} must lie ahead, by {LONGEST.days} days at most: for ever would be forgotten")
    return moment


def suspension_file(description: Description) -> str:
    """Where the head keeps it."""
    return f"{description.cluster.paths.state}/suspended.json"


def suspend(description: Description, suspension: Suspension) -> Answer:
    """Suspend, until the suspension ends or somebody resumes."""
    path, text = suspension_file(description), json.dumps(suspension.told())
    partial = f"{path}.partial"
    words = f"printf %s {shlex.quote(text)} > {shlex.quote(partial)} && mv {shlex.quote(partial)} {shlex.quote(path)}"
    command = f"mkdir -p {shlex.quote(str(description.cluster.paths.state))} && {words}"
    return run(description, description.cluster.head, ["sh", "-c", command])


def resume(description: Description) -> Answer:
    """Let runs change things again."""
    return run(description, description.cluster.head, ["rm", "-f", "--", suspension_file(description)])

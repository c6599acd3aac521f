"""The state of the gang as the head's supervisor knows it, keeps it on disk and finds it there again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args

from gx10_host.checked import As, AtMost, Between, NoneAs
from gx10_host.wire import MOST_HOSTS, MOST_NEEDS, Count, Generation, Life, Moment, Name, Seconds, Sentence, Text, Word

Phase = Literal["gathering", "starting", "serving", "draining", "ending", "stopped", "failed", "deposed"]
PHASES: tuple[Phase, ...] = get_args(Phase)
Clock = Annotated[float, Between(0, 10**10)]
"""A moment by the clock of one boot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack:
    """That a generation did not start, and which one was put back in its place."""

    failed: Annotated[Generation, As("from")]
    to: Generation
    time: Moment = 0
    reason: Sentence = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """A life that ended unplanned, until the hosts' evidence about it is written down."""

    life: Life
    time: Moment
    reason: Sentence
    host: Text
    """The host that may be why; empty where none is."""
    phase: Phase
    starting: bool
    counts: bool
    """Whether it can be an attempt of its generation."""
    until: Clock
    """How long evidence is waited for."""


@dataclass(slots=True, kw_only=True)
class Past:
    """What outlives a boot."""

    number: Annotated[int, Between(0, 999_999_999)] = 0
    """Of the last life; it only grows."""
    failures: Annotated[tuple[Moment, ...], AtMost(1000)] = ()
    """When attempts failed, since the budget was last renewed."""
    ends: Annotated[tuple[Moment, ...], AtMost(10_000)] = ()
    """When lives ended unplanned, within a day."""
    restarts: Count = 0
    failed: bool = False
    stopped: bool = False
    fallback: Annotated[int, Between(0, 99)] = 0
    good: Annotated[Generation | None, NoneAs(None)] = None
    """The generation that served last, and for long enough."""
    rolled_back: Annotated[RolledBack | None, NoneAs(None)] = None
    handled: Text = ""
    """The wish that was taken up last."""
    started_in: Annotated[Annotated[int, Between(0, 10**6)] | None, NoneAs(None)] = None
    """Seconds that the last start took."""


@dataclass(slots=True, kw_only=True)
class Present:
    """What outlives the supervisor within one boot."""

    phase: Phase = "gathering"
    life: Annotated[Life | None, NoneAs("")] = None
    since: Moment = 0
    """When the phase began, by the wall's clock; `began` is the same by that of the boot."""
    began: Clock = 0
    waiting: Annotated[tuple[Sentence, ...], AtMost(MOST_NEEDS)] = ()
    leaving: bool = False
    reason: Sentence | None = None
    boots: Annotated[Mapping[Name, Word], AtMost(MOST_HOSTS)] = field(default_factory=dict)
    """Of the hosts, when the life began."""
    begun: Clock | None = None
    deadline: Clock = 0
    planned: bool | None = None
    """Whether the end of the life was asked for; none before any has ended."""
    engine_gone: bool = False
    stable: bool = False
    served: Clock = 0
    restore: Generation | None = None
    incident: Incident | None = None
    not_before: Clock = 0
    drain_seconds: Seconds | None = None
    drain_until: Clock = 0
    closed: Clock = 0
    cut: Count | None = None
    failed_for: Sentence | None = None
    conclusion: Sentence | None = None
    not_put_back: Sentence | None = None
    spent: Sentence | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What an operator or a deploy asked for."""

    id: Text
    want: Literal["start", "stop", "restart"]
    full: bool = False
    """Whether what was given up for want of memory is tried again."""
    reason: Sentence = ""
    drain_seconds: Seconds | None = None

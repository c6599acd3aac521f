"""What a row of the table is: a command of a page, in a situation, with its exit status and what it shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

from .stage import Stage


@dataclass(frozen=True)
class Typed:
    """A command that a page names, and how it must end."""

    heading: str
    """The section of the page that names it."""
    command: str
    """As the page has it."""
    status: int | tuple[int, ...] = 0
    shows: str = ""
    """Regular expression of what it prints, with lines joined and without colours, frames and marks of code."""
    fill: Mapping[str, str] = field(default_factory=dict)
    """What stands on the lab for a word that the page leaves to its reader."""
    answer: str = ""
    """What is typed to its question."""
    terminal: bool = False
    """Whether it is typed on a terminal, without which it asks nothing."""
    at: str = ""
    """The host on which it is typed, where the page only mentions it and has no prompt."""

    also: tuple[str, ...] = ()
    """Other sections of the page that name it: what takes minutes is typed once."""

    @property
    def rows(self) -> tuple[Typed, ...]:
        """The same for each section that names it."""
        return tuple(replace(self, heading=heading, also=()) for heading in (self.heading, *self.also))

    @property
    def statuses(self) -> tuple[int, ...]:
        """Every exit status that is right."""
        return (self.status,) if isinstance(self.status, int) else self.status


@dataclass(frozen=True)
class Meanwhile:
    """What happens between two commands, without being typed from the page."""

    happens: Callable[[Stage], object]


@dataclass(frozen=True)
class Ends:
    """A command that the page speaks of in other words, such as "the deploy", and how it must end."""

    command: str
    status: int = 0
    shows: str = ""


@dataclass(frozen=True)
class Shown:
    """A line that a page quotes, which must have been printed by now."""

    quote: str
    """As the page has it."""
    page: str = ""
    """Another page that quotes it, where it is not the scenario's own."""


Step = Typed | Meanwhile | Ends | Shown
Situation = Callable[[Stage], AbstractContextManager[Mapping[str, str] | None]]
"""Breaks the lab as a page describes it, and heals it again; may say what stands for words of the page meanwhile."""


@dataclass(frozen=True)
class Scenario:
    """One situation of one page: it is brought about, and the page's commands are typed in their order."""

    page: str
    situation: str
    """In words; a page's scenarios have different ones."""
    broken: Situation
    steps: tuple[Step, ...]
    quick: bool = False
    """Whether it belongs to the part that CI runs."""
    serving: bool = True
    """Whether the lab must serve what is described when it begins; where not, what was deployed to it is enough."""

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        return f"{self.page}: {self.situation}"

    @property
    def typed(self) -> tuple[Typed, ...]:
        """Its commands."""
        return tuple(row for step in self.steps if isinstance(step, Typed) for row in step.rows)

    @property
    def shown(self) -> tuple[tuple[str, str], ...]:
        """Page and text of every quote that it must show."""
        return tuple((step.page or self.page, step.quote) for step in self.steps if isinstance(step, Shown))


@dataclass(frozen=True)
class NotTyped:
    """A command of a page that cannot be typed on the lab."""

    page: str
    command: str
    reason: str
    """A sentence."""


@dataclass(frozen=True)
class NotProvoked:
    """A line that a page quotes and that no situation brings about; it must stand in the program that prints it."""

    page: str
    quote: str
    file: str
    words: str
    """Part of that file's text."""
    reason: str
    """A sentence."""

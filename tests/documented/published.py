"""docs/documented-commands.md: every command of the documents, and how it ended when it was typed last.

The page itself keeps what was found: a run of a part replaces that part's rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gx10.settings import PROJECT

from .case import Scenario, Typed
from .cases import NOT_TYPED, SCENARIOS
from .extract import commands, documents

PAGE = PROJECT / "docs/documented-commands.md"
HEAD = """\
# Every documented command, typed

Written by `make docs-commands`: it takes every command from README, from the pages on a cluster of one's own, day two,
measurements, the lab and reports, and from the runbooks, brings the lab into the situation that the page describes,
types it as it stands there, and holds its exit status and what the page says it shows. {count} commands in {situations}
situations; {off} cannot be typed on the lab.

*Status* is the exit status, *seconds* are of the lab, *commit* is what was typed there. {open}
"""
LINES_HEAD = """
## Lines alone

Situations in which a page has nobody type anything: it quotes what a program says there, and those lines were printed.
"""
NOT_TYPED_HEAD = "## Not typed"
NO_OUTCOME, SHOWN = "-", "shown"
COLUMNS = ("page", "section", "typed", "situation", "status", "seconds", "commit")
LINES_COLUMNS = ("page", "situation", "lines", "seconds", "commit")
Key = tuple[str, str, str, str]
"""Page, section, command and situation; section and command are empty for a situation whose lines alone are held."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    status: str = NO_OUTCOME
    seconds: str = NO_OUTCOME
    commit: str = NO_OUTCOME


def key(scenario: Scenario, step: Typed) -> Key:
    """What names a row."""
    return scenario.page, step.heading, step.command, scenario.situation


def lines_key(scenario: Scenario) -> Key:
    """What names the row of a situation whose lines alone are held."""
    return scenario.page, "", "", scenario.situation


def keys(scenarios: Iterable[Scenario] = SCENARIOS) -> Iterator[Key]:
    """Every row that the page has, in the order in which commands are typed; a command typed again is one row."""
    yield from dict.fromkeys(row for scenario in scenarios for row in _keys(scenario))


def _keys(scenario: Scenario) -> Iterable[Key]:
    return [key(scenario, step) for step in scenario.typed] or [lines_key(scenario)]


def page(outcomes: Mapping[Key, Outcome]) -> str:
    """The page from what was found."""
    every = [command for one in documents() for command in commands(one)]
    off = {(one.page, one.command) for one in NOT_TYPED}
    left = sum((command.page, command.text) in off for command in every)
    rows = [(name, outcomes.get(name, Outcome())) for name in keys()]
    waiting = sum(outcome.status == NO_OUTCOME for _, outcome in rows)
    told = f"{waiting} rows without one were not typed yet." if waiting else "Every row was typed."
    text = HEAD.format(count=len(every) - left, situations=len(SCENARIOS), off=left, open=told)
    lines = [text, _cells(*COLUMNS), _cells(*["---"] * len(COLUMNS))]
    lines += [
        _cells(document, section, f"`{command}`", situation, outcome.status, outcome.seconds, outcome.commit)
        for (document, section, command, situation), outcome in rows
        if command
    ]
    lines += [LINES_HEAD, _cells(*LINES_COLUMNS), _cells(*["---"] * len(LINES_COLUMNS))]
    lines += [
        _cells(document, situation, outcome.status, outcome.seconds, outcome.commit)
        for (document, _, command, situation), outcome in rows
        if not command
    ]
    lines += ["", NOT_TYPED_HEAD, "", "| page | command | why |", "| --- | --- | --- |"]
    lines += [_cells(one.page, f"`{one.command}`", one.reason) for one in NOT_TYPED]
    return "\n".join(lines) + "\n"


def published(text: str) -> dict[Key, Outcome]:
    """What a page says of each row."""
    found = {}
    for line in text.partition(NOT_TYPED_HEAD)[0].splitlines():
        cells = [cell.replace("\\|", "|") for cell in re.split(r" \| ", line.removeprefix("| ").removesuffix(" |"))]
        if len(cells) == len(COLUMNS) and cells[2].startswith("`"):
            found[cells[0], cells[1], cells[2].strip("`"), cells[3]] = Outcome(*cells[4:])
        elif len(cells) == len(LINES_COLUMNS) and cells[0].endswith(".md"):
            found[cells[0], "", "", cells[1]] = Outcome(*cells[2:])
    return found


def _cells(*cells: str) -> str:
    return "| " + " | ".join(re.sub(r"\|", r"\\|", cell) for cell in cells) + " |"

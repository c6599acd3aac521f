"""docs/documented-commands.md: every command of the documents, typed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gx10.settings import PROJECT

from .case import Scenario
from .cases import NOT_TYPED, SCENARIOS
from .extract import commands, documents

RESULTS = PROJECT / ".cache/documented-commands"
PAGE = PROJECT / "docs/documented-commands.md"
HEAD = """\
# Every documented command, typed

Written by `make docs-commands`: it takes every command from README, the lab's page, the page on reports and the
runbooks, brings the lab into the situation that the page describes, types it as it stands there, and holds its exit
status and what the page says it shows. {count} commands in {situations} situations; {off} cannot be typed on the lab.

*Status* is the exit status, *seconds* are of the lab, on {when} at {revision}.
"""


def result_file(scenario: Scenario) -> Path:
    """Where what a scenario found is kept."""
    return RESULTS / (re.sub(r"\W+", "-", scenario.name) + ".json")


def page(kept: Mapping[str, Any]) -> str:
    """The page from what the runs have found."""
    typed = sum(len(commands(one)) for one in documents())
    off = sum(1 for one in documents() for command in commands(one) if _reason(command.page, command.text))
    every = list(kept.values())
    when = ", ".join(sorted({one["when"] for one in every}))
    revision = ", ".join(sorted({one["revision"] for one in every}))
    lines = [HEAD.format(count=typed - off, situations=len(SCENARIOS), off=off, when=when, revision=revision)]
    lines += ["| page | section | typed | situation | status | seconds |", "| --- | --- | --- | --- | --- | --- |"]
    lines += [_cells(*row) for row in rows(kept)]
    lines += ["", "## Not typed", "", "| page | command | why |", "| --- | --- | --- |"]
    lines += [_cells(one.page, f"`{one.command}`", one.reason) for one in NOT_TYPED]
    return "\n".join(lines) + "\n"


def rows(kept: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Rows of the table, in the order in which they were typed."""
    for scenario in (one for one in SCENARIOS if one.name in kept):
        for row in kept[scenario.name]["rows"]:
            yield (
                scenario.page, row["heading"], f"`{row['command']}`", scenario.situation, str(row["status"]),
                f"{row['seconds']:.1f}",
            )  # fmt: skip


def published(text: str) -> set[tuple[str, str, str]]:
    """Page, section and command of every row of a published page."""
    found = set()
    for line in text.partition("## Not typed")[0].splitlines():
        cells = [cell.strip().replace("\\|", "|") for cell in line.replace("\\|", "\0").strip("| ").split(" | ")]
        cells = [cell.replace("\0", "|") for cell in cells]
        if len(cells) == 6 and cells[2].startswith("`"):
            found.add((cells[0], cells[1], cells[2].strip("`")))
    return found


def _reason(page: str, command: str) -> str:
    return next((one.reason for one in NOT_TYPED if (one.page, one.command) == (page, command)), "")


def _cells(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

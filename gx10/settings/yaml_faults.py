"""What is wrong with a file that is no YAML, in words for its author instead of the parser's.

No word of the file itself is repeated beyond a single character: a line may hold a secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import yaml


@dataclass(frozen=True)
class Fault:
    """Where a file is wrong, what stands there, and what to do; parts of a sentence."""

    line: int
    rule: str
    remedy: str


SIGNS = (
    (
        r"cannot start any token.*'(?P<sign>[^\\]+)'",
        "{line}",
        "no value begins with {sign}",
        "Put the value in quotes.",
    ),
    (r"flow mapping", "{opened}", "the {{ in line {opened} is not closed before line {line}", "Close it, or quote it."),
    (r"flow sequence", "{opened}", "the [ in line {opened} is not closed before line {line}", "Close it, or quote it."),
    (r"unexpected end.*quoted scalar", "{opened}", "the quote in line {opened} is never closed", "Close it."),
    (r"unknown escape", "{line}", "a backslash in double quotes has a meaning of its own", "Write single quotes."),
    (r"expected ':'", "{opened}", "line {opened} is no `key: value`", "Write a colon and a space after the key."),
    (r"undefined alias", "{line}", "a value that begins with * refers to another, which is not there", "Quote it."),
    (r"constructor for the tag", "{line}", "a value that begins with ! is no plain value", "Quote it."),
    (r"another document", "{line}", "a line of --- begins a second document", "Remove it: a file holds one mapping."),
)
"""What the parser says, then its own place or where something was opened, and both parts of our sentence."""


def fault(error: yaml.MarkedYAMLError, text: str) -> Fault:
    """What a parser's complaint about a text means."""
    line = error.problem_mark.line + 1 if error.problem_mark else 0
    opened = error.context_mark.line + 1 if error.context_mark else line
    lines = text.splitlines()
    problem = " ".join(str(error.problem).split())
    if "'\\t'" in problem:
        return _tab(line, lines[line - 1][: _column(error)])
    if any(sign in problem for sign in ("mapping values", "<block end>", "node content")):
        return _indentation(line, lines, error)
    for sign, place, rule, remedy in SIGNS:
        # The character that nothing begins with comes before what is said of it.
        if found := re.search(sign, f"{problem} {error.context} {_quoted(problem)}"):
            values = {"line": line, "opened": opened, **found.groupdict()}
            return Fault(int(place.format(**values)), rule.format(**values), remedy)
    return Fault(line, problem, "Correct the file there; docs/settings.md shows every key.")


def _quoted(problem: str) -> str:
    found = re.search(r"'[^']*'", problem)
    return found[0] if found else ""


def _tab(line: int, before: str) -> Fault:
    where = "has a tab between key and value" if before.strip() else "is indented by a tab"
    return Fault(line, f"line {line} {where}", "Check the indentation: write spaces, YAML takes no tabs.")


def _indentation(line: int, lines: list[str], error: yaml.MarkedYAMLError) -> Fault:
    """Something stands where it does not belong: by how much it is indented, or for a colon or bracket before it."""
    indents = [(number, _indent(lines[number - 1])) for number in range(1, line) if _has_words(lines[number - 1])]
    here = lines[line - 1] if 0 < line <= len(lines) else ""
    before, above = indents[-1] if indents else (0, 0)
    if before and _indent(here) != above and _column(error) >= _indent(here):
        return Fault(
            line,
            f"line {line} is indented by {_spaces(_indent(here))}, line {before} above it by {_spaces(above)}",
            "Check the indentation: keys of one mapping begin in the same column, and only a key without a value has "
            "more below it.",
        )
    if re.search(r"[\]}]", here):
        return Fault(line, "a bracket is closed that was not opened", "Remove it, or put the value in quotes.")
    if before and lines[before - 1].lstrip().startswith("-"):
        return Fault(line, f"line {line} is a key among the items of a list", "Check the indentation of both.")
    if before and not re.search(r":(\s|$)", lines[before - 1]):
        return Fault(before, f"line {before} is no `key: value`", "Write a colon and a space after the key.")
    return Fault(
        line,
        "something follows a value that was complete",
        "Put the whole value in quotes where it holds a colon, a # or a quote.",
    )


def _column(error: yaml.MarkedYAMLError) -> int:
    return error.problem_mark.column if error.problem_mark else 0


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _has_words(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _spaces(count: int) -> str:
    return f"{count} space{'s' * (count != 1)}" if count else "nothing"

"""What is wrong with a description, as sentences a person can act on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Problem:
    """One refused value: where it stands, what was found, which rule it breaks, and what to write instead."""

    file: str
    key: str
    found: str
    rule: str
    remedy: str
    reason: str = ""
    line: int = 0

    def sentence(self) -> str:
        """The problem as one sentence naming file, key, value, rule, reason and remedy."""
        because = f" ({self.reason})" if self.reason else ""
        at = f"{self.file}:{self.line}" if self.line else self.file
        key = f" {self.key}:" if self.key else ""
        return f"{at}:{key} found {self.found}, but {self.rule}{because}. {self.remedy}"


class SettingsError(Exception):
    """A description that is refused; carries every problem found, not the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(sorted(set(problems)))
        super().__init__("\n".join(problem.sentence() for problem in self.problems))

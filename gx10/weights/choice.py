"""The recipe that a cluster serves: one line of its file, changed without touching anything else in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml
from gx10_host.write.whole import write_whole

from gx10.settings.source import read_mapping

LINE = re.compile(r"""^(recipe\s*:\s*)(?:"[^"]*"|'[^']*'|[^\s#]+)(.*)$""", re.DOTALL)


@dataclass(frozen=True)
class Choice:
    """The line of a cluster file that names the recipe."""

    path: Path

    @property
    def recipe(self) -> str:
        """The recipe that is chosen now."""
        return str(read_mapping(self.path)[0]["recipe"])

    def changed(self, recipe: str) -> str:
        """The file's text with another recipe chosen; comments, order and every other line stay.

        Raises ValueError where its line is written in a way that only a person can change.
        """
        text = self.path.read_text(encoding="utf-8")
        _, places = read_mapping(self.path)
        lines, number = text.splitlines(keepends=True), places["recipe"]
        lines[number - 1] = LINE.sub(lambda parts: f"{parts[1]}{recipe}{parts[2]}", lines[number - 1])
        if yaml.safe_load("".join(lines))["recipe"] != recipe:
            raise ValueError(f"{self.path}:{number}: write `recipe: {recipe}` there yourself, then deploy")
        return "".join(lines)

    def write(self, text: str) -> None:
        """Write the file whole, with the mode it has."""
        write_whole(self.path, text.encode(), mode=self.path.stat().st_mode & 0o777)

"""The recipe that a cluster serves: one line of its file, changed without touching anything else in it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

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

    def change(self, recipe: str) -> str:
        """Choose another recipe and return the text from before; comments, order and every other line stay."""
        text = self.path.read_text(encoding="utf-8")
        _, lines = read_mapping(self.path)
        told = text.splitlines(keepends=True)
        changed = LINE.sub(lambda found: f"{found[1]}{recipe}{found[2]}", told[lines["recipe"] - 1])
        self.write("".join([*told[: lines["recipe"] - 1], changed, *told[lines["recipe"] :]]))
        if self.recipe != recipe:
            self.write(text)
            raise ValueError(f"{self.path}:{lines['recipe']}: write `recipe: {recipe}` there yourself")
        return text

    def write(self, text: str) -> None:
        """Write the file whole, with the mode it has."""
        partial = self.path.with_suffix(".yaml.partial")
        partial.write_text(text, encoding="utf-8")
        partial.chmod(self.path.stat().st_mode & 0o777)
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.rename(self.path)

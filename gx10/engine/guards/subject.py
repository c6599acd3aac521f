"""What the guards judge: a recipe with its rendered command, and where in the recipe each flag's value stands."""

from __future__ import annotations

from dataclasses import dataclass

from gx10.settings import Problem, Recipe
from gx10.settings.secrets import HIDDEN, holds_secret, names_secret

from ..vllm.flags import Command
from ..vllm.render import Rendered
from ..vllm.spelling import option_name


@dataclass(frozen=True)
class Served:
    """A recipe with the command it renders to."""

    recipe: Recipe
    file: str
    rendered: Rendered
    command: Command

    def problem(self, dest: str, rule: str, remedy: str, reason: str = "", found: str = "") -> Problem:
        """A problem with one flag, named by the default that fills it in, or else by the command."""
        text = found or self.command.shown(dest)
        hidden = holds_secret(text) or names_secret(dest)
        return Problem(self.file, self.key(dest), HIDDEN if hidden else text, rule, remedy, reason)

    def key(self, dest: str) -> str:
        """The recipe's key that a flag's value comes from: `defaults.NAME` where a placeholder fills it in."""
        given = self.command.flags.get(dest)
        refused = next((issue for issue in self.command.issues if dest and issue.dest == dest), None)
        spellings = given.flag.spellings if given else refused.spellings if refused else ()
        argv, placeholders = self.rendered.argv, self.rendered.placeholders
        for index, word in enumerate(argv):
            name = option_name(word)
            if word.startswith("-") and any(spelling.startswith(name) for spelling in spellings):
                at = index if "=" in word else index + 1
                names = placeholders[at] if at < len(placeholders) else ()
                return f"defaults.{names[0]}" if len(names) == 1 and names[0] in self.recipe.defaults else "command"
        return "command"

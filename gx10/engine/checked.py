"""A description that passed: read, rendered, parsed and guarded, with every problem of it in one error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gx10.settings import PROJECT, Draft, Loaded, Problem, read

from .fallbacks import Rung, rungs
from .guards import Served, problems
from .memory import needed_to_start_gib
from .vllm.catalogue import catalogue
from .vllm.flags import Command, parse
from .vllm.mods import added_flags
from .vllm.render import environment, render


@dataclass(frozen=True)
class Checked:
    """A cluster's description with the engine's exact command line and environment."""

    loaded: Loaded
    argv: tuple[str, ...]
    """`vllm serve` and its arguments, word by word; no shell is needed to run it."""
    environment: Mapping[str, str]
    """Environment of the engine, in order."""
    command: Command
    """The command as vLLM understands it."""
    fallbacks: tuple[Rung, ...] = ()
    """Commands to go on with, one after the other, when memory runs out at a start."""

    @property
    def port(self) -> int:
        """Port of the engine's API on the head."""
        return int(self.command.value("port", 8000))

    @property
    def served_name(self) -> str:
        """The name that clients ask for."""
        names: tuple[str, ...] = self.command.value("served_model_name") or ()
        return names[0] if names else str(self.command.model)

    @property
    def budget_gib(self) -> float | None:
        """Memory budget per host in GiB, where the command gives it in GiB: the engine repeats it as it was given."""
        budget = self.command.value("gpu_memory_utilization_gb")
        return None if budget is None else float(budget)

    def needed_to_start_gib(self, host: str, fallback: int = 0) -> float:
        """MemAvailable that a host must have before a rank starts there, with a rung of the fallbacks or with none."""
        command = self.fallbacks[fallback - 1].command if fallback else self.command
        return needed_to_start_gib(command, self.loaded.recipe.gx10.limits, self.loaded.cluster, host)

    @property
    def speculative_tokens(self) -> int:
        """Tokens predicted per step; 0 without speculation."""
        return int(self.command.speculative.get("num_speculative_tokens") or 0)


def check(name: str | None = None, project: Path = PROJECT, recipe: str | None = None) -> Checked:
    """Read and judge a cluster's description; raises SettingsError with every problem, and contacts nobody."""
    draft = read(name, project, recipe)
    served = _served(draft)
    draft.problems.extend(problems(draft, served))
    fallbacks: tuple[Rung, ...] = ()
    if served is not None and draft.cluster is not None and not draft.problems:
        fallbacks = rungs(served, draft.cluster, draft.problems)
    loaded = draft.loaded()
    if served is None:  # rendering notes a problem whenever there is no command, so loaded() has raised
        raise AssertionError("a recipe without a command passed")
    return Checked(loaded, served.rendered.argv, environment(loaded.recipe), served.command, fallbacks)


def _served(draft: Draft) -> Served | None:
    """The recipe's command, as far as it can be rendered; notes what is wrong with it."""
    recipe = draft.recipe
    if recipe is None:
        return None
    model, values = recipe.gx10.model, {}
    mount = draft.cluster.container.model_mount if draft.cluster is not None else None
    if model is not None:
        values["model_path"] = str(mount / model.path) if mount is not None else str(model.path)
    rendered = render(recipe, draft.recipe_file, values, draft.problems)
    if rendered is None:
        return None
    command = parse(rendered.argv, catalogue().with_flags(added_flags(recipe.mods)))
    if command.model is None and not command.flags:  # no `vllm serve` at all: its flags would only be guessed at
        draft.problems.extend(
            Problem(draft.recipe_file, "command", issue.found, issue.rule, issue.remedy) for issue in command.issues
        )
        return None
    return Served(recipe, draft.recipe_file, rendered, command)

"""The ladder of a recipe: the command of each rung, judged like the command itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gx10.settings import Cluster, Problem

from .guards import Served
from .guards.ceilings import budget_problems, ceiling_problems
from .vllm.catalogue import catalogue
from .vllm.flags import Command, parse
from .vllm.mods import added_flags
from .vllm.render import Rendered, render
from .vllm.spelling import option_name


@dataclass(frozen=True)
class Rung:
    """One rung: what is given up, and the command that is left."""

    name: str
    argv: tuple[str, ...]
    command: Command
    """The same, as vLLM understands it."""


def rungs(served: Served, cluster: Cluster, problems: list[Problem]) -> tuple[Rung, ...]:
    """Every rung of the recipe's ladder, each with what those before it gave up; notes what is wrong with one."""
    recipe, found = served.recipe, []
    model = served.rendered.argv[2] if len(served.rendered.argv) > 2 else ""
    defaults, without = dict(recipe.defaults), list[str]()
    for index, fallback in enumerate(recipe.gx10.fallbacks):
        key = f"gx10.fallbacks.{index}"
        for name in sorted(fallback.defaults.keys() - recipe.defaults.keys()):
            rule, remedy = "the command has no such placeholder", f"Use one of: {', '.join(recipe.defaults)}."
            problems.append(Problem(served.file, f"{key}.defaults.{name}", name, rule, remedy))
        defaults |= {name: value for name, value in fallback.defaults.items() if name in recipe.defaults}
        without += fallback.without
        changed = recipe.model_copy(update={"defaults": defaults})
        rendered = render(changed, served.file, {"model_path": model}, problems)
        if rendered is None:
            return ()
        left, missing = _left(rendered, without)
        for flag in missing:
            rule, remedy = "the command has no such flag, so nothing is given up", "Write a flag of the command."
            problems.append(Problem(served.file, f"{key}.without", flag, rule, remedy))
        command = parse(left.argv, catalogue().with_flags(added_flags(recipe.mods)))
        rung = Served(changed, served.file, left, command)
        noted = {str(problem) for problem in problems}
        broken = (*ceiling_problems(rung), *budget_problems(rung, cluster))
        problems.extend(problem for problem in broken if str(problem) not in noted)
        problems.extend(_floor(rung, f"{key}.defaults"))
        found.append(Rung(fallback.name, left.argv, command))
    return tuple(found)


def _floor(rung: Served, key: str) -> list[Problem]:
    floor, budget = rung.recipe.gx10.limits.budget_floor_gib, rung.command.value("gpu_memory_utilization_gb")
    if floor is None or budget is None or budget >= floor.value:
        return []
    rule = f"a fallback leaves at least {floor.value:g} GiB"
    return [Problem(rung.file, key, f"{budget:g} GiB", rule, f"Write {floor.value:g} or more.", floor.reason)]


def _left(rendered: Rendered, without: Sequence[str]) -> tuple[Rendered, list[str]]:
    """The command without some flags and their values, and the flags that it does not have."""
    argv, placeholders, dropping = list[str](), list[tuple[str, ...]](), False
    seen = set()
    for word, names in zip(rendered.argv, rendered.placeholders, strict=True):
        if word.startswith("-"):
            dropping = option_name(word) in without
            seen |= {option_name(word)} if dropping else set()
        if not dropping:
            argv.append(word)
            placeholders.append(names)
    return Rendered(tuple(argv), tuple(placeholders)), [flag for flag in without if flag not in seen]

"""What may go from the model root and what stays, as the program on the hosts takes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from gx10.settings import Cluster, Problem, Recipe, SettingsError, load_recipe


@cache
def all_recipes(project: Path) -> dict[str, Recipe]:
    """Every recipe by name; one that cannot be read stops whoever wants to remove what it may name."""
    names = sorted(path.stem for path in (project / "recipes").glob("*.yaml"))
    recipes: dict[str, Recipe] = {}
    problems: list[Problem] = []
    for name in names:
        try:
            recipes[name] = load_recipe(name, project)[0]
        except SettingsError as error:
            problems.extend(error.problems)
    if problems:
        raise SettingsError(problems)
    return recipes


def hub_name(recipe: Recipe) -> str | None:
    """ORG/NAME of a recipe's weights on the hub, where its directory says that it holds these."""
    model = recipe.gx10.model
    if model is None:
        return recipe.model
    # A recipe that extends another may serve other weights under its name.
    return model.source.hub or (recipe.model if str(model.path) == recipe.model else None)


def names_of(recipe: Recipe) -> Iterable[str]:
    """What a recipe's weights are called: their directory below the model root, and their repository on the hub."""
    if recipe.gx10.model is not None:
        yield str(recipe.gx10.model.path)
    if name := hub_name(recipe):
        yield name


def policy(
    cluster: Cluster,
    served: Recipe,
    recipes: Mapping[str, Recipe],
    named: Iterable[str] = (),
    *,
    everything: bool = False,
) -> dict[str, Any]:
    """The policy for one cluster's hosts; with `everything` for a person who looks, whatever the deploy may remove.

    The served model's directory is kept. Its hub cache is not: an absolute path bypasses it.
    """
    rules = cluster.models
    told: dict[str, Any] = {
        "root": str(cluster.paths.model_root),
        "mount": rules.mount,
        "keep": [*rules.keep, *([str(served.gx10.model.path)] if served.gx10.model else [])],
        "keep_caches": list(rules.keep),
        "known": sorted({name for recipe in recipes.values() for name in names_of(recipe)}),
        "bypassed": {
            name: str(recipe.gx10.model.path)
            for recipe in recipes.values()
            if recipe.gx10.model and (name := hub_name(recipe)) and name not in rules.keep
        },
        "kinds": list(rules.clean),
        "named": list(named),
        "stale_hours": rules.stale_hours,
    }
    if everything:
        del told["kinds"]
    return told

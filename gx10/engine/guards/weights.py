"""Guards of where weights come from: one place, which exists."""

from __future__ import annotations

from collections.abc import Iterator

from gx10.settings import Cluster, Problem, Recipe

SOURCE = "gx10.model.source"


def weights_problems(recipe: Recipe, file: str, cluster: Cluster | None) -> Iterator[Problem]:
    """Sources of weights that cannot be what somebody means."""
    if recipe.gx10.model is None:
        return
    source = recipe.gx10.model.source
    named = {"directory": source.directory, "control": source.control, "hub": source.hub}
    given = [key for key, value in named.items() if value is not None]
    if len(given) > 1:
        rule = f"weights come from one place, and {given[0]} names another"
        remedy = "Keep one of them; in a recipe that extends another, write `null` for the other's."
        yield Problem(file, f"{SOURCE}.{given[1]}", repr(str(named[given[1]])), rule, remedy)
    if source.revision and not source.hub:
        rule = "only a repository of a hub has revisions"
        yield Problem(file, f"{SOURCE}.revision", repr(source.revision), rule, "Name source.hub, or remove it.")
    if source.host is None:
        return
    if source.directory is None:
        rule = "it says which host has source.directory, and none is named"
        yield Problem(file, f"{SOURCE}.host", repr(source.host), rule, "Name the directory, or remove it.")
    if cluster is not None and source.host not in cluster.hosts:
        rule = f"it is none of the cluster's hosts: {', '.join(cluster.hosts)}"
        yield Problem(file, f"{SOURCE}.host", repr(source.host), rule, "Name one of them.")

"""The guards: pure functions from settings to problems, run before any host is contacted, all in one run."""

from __future__ import annotations

from collections.abc import Iterator

from gx10.settings import Draft, Problem

from .ceilings import ceiling_problems
from .command import command_problems
from .environment import recipe_environment_problems
from .hosts import cluster_problems
from .placement import image_problems, mod_problems, placement_problems
from .subject import Served
from .weights import weights_problems

__all__ = ["Served", "problems"]


def problems(draft: Draft, served: Served | None) -> Iterator[Problem]:
    """Every broken rule in what could be read; `served` is missing where the recipe has no command to judge."""
    if draft.cluster is not None:
        yield from cluster_problems(draft.cluster, draft.cluster_file)
    if draft.recipe is not None:
        yield from recipe_environment_problems(draft.recipe, draft.recipe_file)
        yield from weights_problems(draft.recipe, draft.recipe_file, draft.cluster)
    if served is not None:
        yield from command_problems(served)
        yield from ceiling_problems(served)
        yield from mod_problems(served, draft.project)
        if draft.cluster is not None:
            yield from placement_problems(served, draft.cluster, draft.cluster_file)
        if draft.image is not None:
            yield from image_problems(served, draft.image, draft.image_file)

"""Engine: one API on the head, ready when it has answered."""

from __future__ import annotations

from pyinfra.api import deploy

from gx10.engine.description import Description
from gx10.engine.gang_files import ENGINE_UNIT
from gx10.operations.gang import engine_answering


@deploy("Engine")
def engine(description: Description) -> None:
    """Have the engine answer completions."""
    engine_answering(
        name="Start the engine and wait for its first completion",
        unit=ENGINE_UNIT,
        seconds=description.recipe.gx10.start_timeout_seconds + 60,
        head=description.cluster.head,
    )

"""Engine: one API on the head, ready when it has answered."""

from __future__ import annotations

from pyinfra.api import deploy

from gx10.described.description import Description
from gx10.described.gang_files import ENGINE_UNIT
from gx10.operations.gang import generation_serving
from gx10.operations.handed import described_gang


@deploy("Engine")
def engine(description: Description) -> None:
    """Have the described generation answer completions, after a drain of another one."""
    gx10 = description.recipe.gx10
    attempts = gx10.budget.attempts * (gx10.start_timeout_seconds + gx10.stop_timeout_seconds + 60)
    generation_serving(
        name="Start the engine and wait for its first completion",
        gang=described_gang(description),
        unit=ENGINE_UNIT,
        seconds=gx10.drain_timeout_seconds + attempts,
    )

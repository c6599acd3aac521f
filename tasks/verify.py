"""Verify: the described engine serves."""

from __future__ import annotations

from pyinfra.api import deploy

from gx10.described.description import Description
from gx10.described.gang_files import ENGINE_UNIT
from gx10.operations.gang import completion_answered


@deploy("Verify")
def verify(description: Description) -> None:
    """Ask for a completion and for the configuration that the engine runs with."""
    completion_answered(
        name="Prove that the described engine answers",
        unit=ENGINE_UNIT,
        url=description.local_url,
        model=description.served_name,
        budget_gib=description.budget_gib,
        head=description.cluster.head,
    )

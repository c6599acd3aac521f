"""Preflight: every host is fit, or nothing is changed on any."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import deploy

from gx10.engine.description import Description
from gx10.operations.preflight import host_fit
from tasks.survey import offered_paths, questions


@deploy("Preflight")
def preflight(description: Description) -> None:
    """Survey this host and judge it; one unfit host stops the run before the first change."""
    host_fit(
        name="Find the host fit for the deploy",
        cluster=description.cluster,
        paths=offered_paths(description),
        questions=questions(description, host.name),
    )

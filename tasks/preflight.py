"""Preflight: every host is fit, or nothing is changed on any."""

from __future__ import annotations

from pyinfra.api import deploy

from gx10.engine.description import Description
from gx10.operations.preflight import host_fit


@deploy("Preflight")
def preflight(description: Description) -> None:
    """Judge this host; one unfit host stops the run before the first change."""
    host_fit(name="Find the host fit for the deploy", cluster=description.cluster)

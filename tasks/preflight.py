"""Preflight: every host is fit, or nothing is changed on any."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import deploy

from gx10.described import watch_files
from gx10.described.description import Description
from gx10.described.reconciler_wheels import wheels_question
from gx10.operations.fitness import model_splits, reconciler_installable
from gx10.operations.handed import offered_paths, questions, shape_of
from gx10.operations.preflight import host_fit


@deploy("Preflight")
def preflight(description: Description) -> None:
    """Survey this host and judge it; one unfit host stops the run before the first change."""
    host_fit(
        name="Find the host fit for the deploy",
        description=description,
        paths=offered_paths(description),
        questions=questions(description, host.name),
    )
    model_splits(name="Hold the model against the ranks that shall share it", **shape_of(description))


@deploy("Preflight")
def reconciler_preflight(description: Description) -> None:
    """Find that the reconciler can be installed, before the gang is touched for the rest of the description."""
    if description.cluster.reconcile.enabled:
        reconciler_installable(
            name="Find the wheels of the reconciler's environment on its host",
            node=watch_files.node(description),
            wheels=wheels_question(description),
            description=description,
        )

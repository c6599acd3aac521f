"""Model: the same proven weights on every host."""

from __future__ import annotations

from pyinfra.api import deploy

from gx10.described.description import Description
from gx10.operations.fitness import model_splits
from gx10.operations.handed import shape_of, weights_of
from gx10.operations.model import (
    manifest_recorded,
    models_cleaned,
    weights_fit,
    weights_received,
    weights_staged,
)


@deploy("Model")
def model(description: Description) -> None:
    """Have the recipe's weights under the model root, and room for them."""
    weights = weights_of(description)
    weights_fit(name="Find room for the weights", weights=weights)
    models_cleaned(name="Clean the model root as far as the weights need it", weights=weights)
    weights_staged(name="Stage the weights", weights=weights)
    model_splits(name="Hold the staged model against the ranks that shall share it", **shape_of(description))
    weights_received(name="Receive the weights over the fabric", weights=weights)
    manifest_recorded(name="Record the manifest on the control node", weights=weights)

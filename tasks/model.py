"""Model: the same proven weights on every host."""

from __future__ import annotations

from pyinfra.api import deploy

from gx10.engine.description import Description
from gx10.engine.host_files import share_url
from gx10.operations.model import weights_received, weights_staged


@deploy("Model")
def model(description: Description) -> None:
    """Have the recipe's weights under the model root."""
    cluster, weights = description.cluster, description.weights
    source = weights.source.directory
    weights_staged(
        name="Stage the weights on the head",
        directory=description.model_directory,
        title=str(weights.path),
        source=str(source) if source else None,
        head=cluster.head,
    )
    weights_received(
        name="Receive the weights over the fabric",
        directory=description.model_directory,
        title=str(weights.path),
        root=str(cluster.paths.model_root),
        head=cluster.head,
        workers=cluster.workers,
        share=share_url(cluster, cluster.head),
    )

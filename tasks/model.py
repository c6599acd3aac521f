"""Model: the same proven weights on every host."""

from __future__ import annotations

from typing import Any

from pyinfra.api import deploy

from gx10.access.remote import project_path, ssh_arguments
from gx10.described.description import Description
from gx10.described.host_files import share_urls, transfers_file
from gx10.operations.fitness import model_splits
from gx10.operations.model import (
    Hub,
    Weights,
    manifest_recorded,
    models_cleaned,
    weights_fit,
    weights_received,
    weights_staged,
)
from gx10.weights.manifests import Manifests
from gx10.weights.policy import all_recipes, hub_name, policy


def weights_of(description: Description) -> Weights:
    """The served weights, and how they come to the hosts."""
    cluster, model, recipe = description.cluster, description.weights, description.recipe
    source, rules = model.source, cluster.models
    hub = None
    if source.hub:
        token = str(rules.hub_token_file) if rules.hub_token_file else None
        hub = Hub(source.hub, source.revision, description.image_reference, token, rules.hub_endpoint)
    return Weights(
        directory=description.model_directory,
        title=str(model.path),
        root=str(cluster.paths.model_root),
        keeper=source.host or cluster.head,
        hosts=(cluster.head, *cluster.workers),
        shares={name: share_urls(cluster, name) for name in cluster.hosts},
        recorded=Manifests.of(description.project, cluster.name, kept_here=not description.loaded.is_copy),
        policy=policy(cluster, recipe, all_recipes(description.project)),
        min_free_gib=rules.min_free_gib,
        source=str(source.directory) if source.directory else None,
        control=str(project_path(description, source.control)) if source.control else None,
        hub=hub,
        cache=hub_name(recipe) or "",
        record=transfers_file(cluster),
        ssh={name: ssh_arguments(description, name) for name in cluster.hosts},
    )


def shape_of(description: Description) -> dict[str, Any]:
    """What is asked about how the served weights can be split, and what it is held against."""
    weights, command = weights_of(description), description.checked.command
    return {
        "keeper": weights.keeper,
        "directories": [weights.directory, *([weights.source] if weights.source else [])],
        "control": weights.control,
        "tensor": int(command.value("tensor_parallel_size", 1)),
        "pipeline": int(command.value("pipeline_parallel_size", 1)),
    }


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

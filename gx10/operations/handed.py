"""A description as the values that operations are handed, and everything that they will ask of a host in advance."""

from __future__ import annotations

from typing import Any

from gx10.access.login import project_path, ssh_arguments
from gx10.described import gang_files, host_files, units, watch_files
from gx10.described.containers import described_containers
from gx10.described.description import Description
from gx10.described.host_files import share_urls, transfers_file
from gx10.described.image_inputs import archive_name
from gx10.described.live import filter_question, live_question
from gx10.described.members import members_file
from gx10.described.placed import HOSTS_FILE, TITLE, of_gang, of_reconciler, on_host, unit_names
from gx10.described.preflight import COMMANDS
from gx10.described.project import applied_file
from gx10.described.reconciler_wheels import wheels_question
from gx10.described.roles import gang_remains, reconciler_remains
from gx10.facts import (
    DockerState,
    FileStates,
    FilterState,
    HostOffer,
    ImageLeftovers,
    Kept,
    LiveState,
    ModelShape,
    ReconcilerWheels,
    RoleRemains,
    StoredContent,
    SystemState,
    WatchState,
)
from gx10.weights.manifests import Manifests
from gx10.weights.policy import all_recipes, hub_name, policy

from .files import marks
from .gang import Gang
from .loop.asking import Question
from .members import members_question
from .model import Hub, Weights


def described_gang(description: Description) -> Gang:
    """The gang as the operations must know it."""
    return Gang(
        head=description.cluster.head,
        hosts=tuple(description.cluster.hosts),
        configuration=gang_files.configuration(description),
        model_directory=description.model_directory,
        containers={name: described_containers(description, name) for name in description.cluster.hosts},
    )


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


def questions(description: Description, host: str) -> list[Question]:
    """Questions for a host. One that is missing here is asked by its operation, at the price of one more command."""
    cluster = description.cluster
    services = [host_files.SHARE_UNIT, host_files.FIREWALL_UNIT]
    markers = [host_files.running_marker(unit) for unit in [*services, gang_files.GANG_UNIT]]
    files = [*on_host(description, host), *of_gang(description, host), *of_reconciler(description, host)]
    own = [watch_files.KNOWN_HOSTS, applied_file(description)[0], members_file(description)]
    own += [host_files.daemon_record(cluster), f"/{host_files.FORMER_PROGRAMS}"]
    archive = str(cluster.paths.archive)
    shape = shape_of(description)
    reconciles = cluster.reconcile.enabled and host == watch_files.node(description)
    return [
        (HostOffer, {"paths": offered_paths(description), "commands": list(COMMANDS)}),
        (
            FileStates,
            {
                "paths": [entry.name for entry in files] + [gang_files.GENERATION_FILE] + markers + own,
                "blocks": {HOSTS_FILE: marks(TITLE)},
            },
        ),
        (
            SystemState,
            {
                "sysctls": list(cluster.host.sysctls),
                "packages": list(cluster.host.packages),
                "groups": ["docker"],
                # Also where no engine belongs: a former head's is drained there.
                "units": list(
                    dict.fromkeys([*unit_names(description, host), gang_files.ENGINE_UNIT, host_files.SYSCTL_UNIT])
                ),
            },
        ),
        (
            DockerState,
            {"images": [description.image_reference], "containers": [units.RAY_CONTAINER, units.ENGINE_CONTAINER]},
        ),
        (StoredContent, {"archive": archive, "image": archive_name(description.image_reference)}),
        (ImageLeftovers, {"policy": description.image_policy(description.image_reference)}),
        (StoredContent, weights_of(description).question),
        *([(ModelShape, {"directories": shape["directories"]})] if host == shape["keeper"] else []),
        *([(ReconcilerWheels, wheels_question(description))] if reconciles else []),
        (WatchState, watch_files.watch_question(description, host)),
        (RoleRemains, gang_remains(description, host).question()),
        (RoleRemains, reconciler_remains(description, host).question()),
        (Kept, members_question(description)),
        (FilterState, filter_question(description, host)),
        # Last, so that its clock is the least old.
        (LiveState, live_question(description, host)),
    ]


def offered_paths(description: Description) -> list[str]:
    """Directories whose file systems must have room; the model root's is held against the weights that are to come."""
    return [str(description.cluster.paths.archive)]

"""Everything that the phases will want to know of a host, so that it can be asked in one command."""

from __future__ import annotations

from gx10.described import gang_files, host_files, units, watch_files
from gx10.described.description import Description
from gx10.described.image_inputs import archive_name
from gx10.described.live import filter_question, live_question
from gx10.described.members import members_file
from gx10.described.placed import HOSTS_FILE, TITLE, unit_names
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
from gx10.operations.files import marks
from gx10.operations.loop.asking import Question
from gx10.operations.members import members_question
from tasks.host import host_entries
from tasks.model import shape_of, weights_of
from tasks.ray import gang_entries
from tasks.watch import watch_entries, watch_question


def questions(description: Description, host: str) -> list[Question]:
    """Questions for a host. One that is missing here is asked by its operation, at the price of one more command."""
    cluster = description.cluster
    services = [host_files.SHARE_UNIT, host_files.FIREWALL_UNIT]
    markers = [host_files.running_marker(unit) for unit in [*services, gang_files.GANG_UNIT]]
    entries = [*host_entries(description, host), *gang_entries(description, host), *watch_entries(description, host)]
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
                "paths": [entry.path for entry in entries] + [gang_files.GENERATION_FILE] + markers + own,
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
        (WatchState, watch_question(description, host)),
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

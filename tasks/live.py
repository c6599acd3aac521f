"""Live: what runs on a host beside what its files say."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import deploy

from gx10.engine.description import Description
from gx10.engine.gang_files import GENERATION_FILE, supervisor_drop_ins
from gx10.engine.live import HOST_SERVICES, live_question
from gx10.engine.roles import removed_paths
from gx10.operations.live import host_as_its_peers, nothing_added
from tasks.host import host_entries
from tasks.ray import gang_entries


@deploy("Live")
def live(description: Description) -> None:
    """Tell what differs on this host beyond what the deploy puts back."""
    cluster = description.cluster
    reconcile, question = cluster.reconcile, live_question(description, host.name)
    entries = [*host_entries(description, host.name), *gang_entries(description, host.name)]
    host_as_its_peers(
        name="Compare clock, space, kernel and driver",
        live=question,
        peer=cluster.head,
        clock_seconds=reconcile.clock_seconds,
        need_gib=cluster.host.min_free_gib + reconcile.disk_margin_gib,
        services=HOST_SERVICES,
    )
    nothing_added(
        name="Look for what somebody added",
        live=question,
        # What a former role left is removed, and told, by the operation that removes it.
        known={
            GENERATION_FILE,
            *(entry.path for entry in entries),
            *supervisor_drop_ins(cluster, host.name),
            *removed_paths(description, host.name),
        },
    )

"""Live: what runs on a host beside what its files say."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import deploy

from gx10.described.description import Description
from gx10.described.gang_files import supervisor_drop_ins
from gx10.described.live import HOST_SERVICES, filter_question, live_question
from gx10.described.placed import links, placed
from gx10.described.roles import removed_paths
from gx10.operations.daemon import daemon_as_it_served
from gx10.operations.live import host_as_its_peers, nothing_added


@deploy("Live")
def live(description: Description) -> None:
    """Tell what differs on this host beyond what the deploy puts back."""
    cluster = description.cluster
    reconcile, question = cluster.reconcile, live_question(description, host.name)
    objects = placed(description, host.name)
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
        filters=filter_question(description, host.name),
        # What a former role left is removed, and told, by the operation that removes it.
        known={entry.name for entry in objects}
        | {*links(objects), *supervisor_drop_ins(cluster, host.name), *removed_paths(description, host.name)},
    )
    daemon_as_it_served(name="Compare the Docker daemon with the one under which the engine last served", live=question)

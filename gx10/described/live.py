"""What a host is asked about everything that runs on it, beside what its files say."""

from __future__ import annotations

import json
from typing import Any

from gx10.settings.cluster import SHARE_PORT

from . import gang_files, host_files, units, watch_files
from .description import Description, once
from .placed import unit_names

HOST_SERVICES = ("docker.service", "containerd.service", "ssh.service")
"""Services of the host that the gang stands on. Restarting one is its owner's to choose: Docker's ends the gang."""
OWNED = ("/etc/gx10", f"/{host_files.PROGRAMS}", f"/{host_files.FORMER_PROGRAMS}")
"""Directories in which everything is this package's."""
UNIT_PATH = (
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/run/systemd/system",
    "/run/systemd/system.attached",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/run/systemd/generator.late",
)
"""Directories in which systemd looks for units, the strongest first (systemd.unit(5)). In each it takes drop-ins."""
FIREWALL_TABLE = "inet gx10"
DAEMON, DAEMON_FILES = "docker.service", ("/etc/docker/daemon.json",)


@once
def live_question(description: Description, name: str) -> dict[str, Any]:
    """What is asked about everything that runs on a host."""
    cluster = description.cluster
    head = name == cluster.head
    settings = cluster.reconcile
    watched = settings.enabled and name == watch_files.node(description)
    return {
        "nft": {"table": FIREWALL_TABLE, "text": host_files.firewall(description).text.decode()},
        "containers": [units.RAY_CONTAINER, *([units.ENGINE_CONTAINER] if head else [])],
        "services": [host_files.SHARE_UNIT, gang_files.GANG_UNIT, *HOST_SERVICES],
        "owned": list(OWNED),
        "units": list(unit_names(description, name)),
        "unit_path": list(UNIT_PATH),
        "calendars": {watch_files.TIMER: f"{settings.calendar} {settings.time_zone}"} if watched else {},
        "daemon": DAEMON,
        "daemon_files": list(DAEMON_FILES),
        "record": host_files.daemon_record(cluster),
        "free": [str(cluster.paths.model_root), str(cluster.paths.archive)],
    }


@once
def filter_question(description: Description, name: str) -> dict[str, Any]:
    """What is asked about packet filters on a host: the first packets of everything that must pass."""
    cluster = description.cluster
    host, peers = cluster.hosts[name], [other for other in cluster.hosts if other != name]
    flows: list[dict[str, Any]] = []
    for number, rail in enumerate(cluster.networks.fabric):
        ours = [str(host.fabric[number])]
        theirs = [str(cluster.hosts[peer].fabric[number]) for peer in peers]
        for direction, sources, destinations, at in (("in", theirs, ours, [name]), ("out", ours, theirs, peers)):
            ports = sorted({port for where in at for port in _fabric_ports(description, where, number)})
            flow = {"direction": direction, "interface": rail.interface, "ports": [list(port) for port in ports]}
            flows.append({**flow, "sources": sources, "destinations": destinations})
    # Who asks from outside is unknown: only a rule that stops everybody counts.
    open_ports = [cluster.access.port, *([description.port] if name == cluster.head else [])]
    flows.append(
        {
            "direction": "in",
            "interface": cluster.networks.management.interface,
            "ports": [[port, port] for port in sorted(open_ports)],
            "sources": [None],
            "destinations": [str(host.management)],
        }
    )
    told = [flow for flow in flows if flow["sources"] and flow["destinations"]]
    return {"own": FIREWALL_TABLE, "flows": json.dumps(told)}


def _fabric_ports(description: Description, name: str, rail: int) -> list[tuple[int, int]]:
    """Ports that a host answers its peers on, as ranges: the share on every rail, all else on the first."""
    cluster = description.cluster
    shared = (SHARE_PORT, SHARE_PORT)
    if rail:
        return [shared]
    named = cluster.ray.ports.model_dump()
    workers = (named.pop("worker_min"), named.pop("worker_max"))
    if name != cluster.head:
        named = {key: port for key, port in named.items() if key not in {"gcs", "client"}}
    return [shared, workers, *((port, port) for port in (cluster.gang.port, *named.values()))]

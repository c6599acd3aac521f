"""What a host is asked about everything that runs on it, beside what its files say."""

from __future__ import annotations

from typing import Any

from . import gang_files, host_files, units
from .description import Description

HOST_SERVICES = ("docker.service", "containerd.service", "ssh.service")
"""Services of the host that the gang stands on. Restarting one is its owner's to choose: Docker's ends the gang."""
OWNED = ("/etc/gx10", "/usr/local/lib/gx10")
"""Directories in which everything is this package's."""


def live_question(description: Description, name: str) -> dict[str, Any]:
    """What is asked about everything that runs on a host."""
    cluster = description.cluster
    services = [host_files.SHARE_UNIT, host_files.FIREWALL_UNIT]
    head = name == cluster.head
    gang = [gang_files.ray_unit(cluster, name), *([gang_files.ENGINE_UNIT] if head else []), gang_files.GANG_UNIT]
    return {
        "nft": {"table": "inet gx10", "text": host_files.firewall(description).text.decode()},
        "containers": [units.RAY_CONTAINER, *([units.ENGINE_CONTAINER] if head else [])],
        "services": [host_files.SHARE_UNIT, gang_files.GANG_UNIT, *HOST_SERVICES],
        "owned": list(OWNED),
        "units": [*services, *gang],
        "free": [str(cluster.paths.model_root), str(cluster.paths.archive)],
    }

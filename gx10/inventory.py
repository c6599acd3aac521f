"""The cluster's hosts as pyinfra takes them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from gx10.engine.description import Description, described_by_environment
from gx10.settings import SettingsError

USAGE = 64
"""Exit status for a description that is refused (EX_USAGE)."""

Hosts = list[tuple[str, dict[str, Any]]]


def groups() -> tuple[Hosts, Hosts]:
    """Head and workers of the described cluster; prints every problem and exits with 64 when it is refused."""
    try:
        description = described_by_environment()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(USAGE) from error
    hosts = {name: host_data(description, name) for name in description.cluster.hosts}
    head = description.cluster.head
    return (
        [(f"@gx10/{head}", hosts[head])],
        [(f"@gx10/{name}", hosts[name]) for name in description.cluster.workers],
    )


def host_data(description: Description, name: str) -> dict[str, Any]:
    """Connection data of one host."""
    access, project = description.cluster.access, description.project
    data: dict[str, Any] = {
        "ssh_hostname": str(description.cluster.hosts[name].management),
        "ssh_user": access.user,
        "ssh_strict_host_key_checking": "yes",
    }
    if access.port != 22:
        data["ssh_port"] = access.port
    for key, path in (
        ("ssh_config_file", access.ssh_config),
        ("ssh_key", access.key),
        ("ssh_known_hosts_file", access.known_hosts),
    ):
        if path:
            data[key] = str(project / Path(os.path.expanduser(path)))  # noqa: PTH111 - Path.expanduser needs a home
    return data

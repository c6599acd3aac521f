"""How this node logs in to a host: the cluster file's `access`, as ssh, pyinfra and testinfra take it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

from gx10.described.description import Description


def ssh_arguments(description: Description, host: str) -> list[str]:
    """The ssh command that logs in to a host without ever asking a person, and gives up one that died meanwhile."""
    return ["ssh", *ssh_options(description), str(description.cluster.hosts[host].management)]


def ssh_options(description: Description) -> list[str]:
    """Options with which ssh logs in to any host of the cluster, whoever runs it."""
    access = description.cluster.access
    words = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-l", access.user]
    words += ["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3"]
    if access.ssh_config:
        words += ["-F", str(project_path(description, access.ssh_config))]
    if access.key:
        words += ["-i", str(project_path(description, access.key))]
    if access.known_hosts:
        words += ["-o", f"UserKnownHostsFile={project_path(description, access.known_hosts)}"]
    if access.port != 22:
        words += ["-p", str(access.port)]
    return words


def project_path(description: Description, path: Path) -> Path:
    """A path of the cluster file: absolute, in the home directory, or relative to the project."""
    return description.project / Path(os.path.expandvars(path)).expanduser()


def pyinfra_data(description: Description, name: str) -> dict[str, Any]:
    """The same for pyinfra's connector, as data of one host."""
    access = description.cluster.access
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
            data[key] = str(project_path(description, path))
    return data


def testinfra_arguments(description: Description, name: str) -> dict[str, str]:
    """The same for `testinfra.get_host`."""
    hostspec = f"ssh://{description.cluster.hosts[name].management}"
    return {"hostspec": hostspec, "ssh_extra_args": shlex.join(ssh_options(description))}

"""Write the described cluster as an inventory for the playbook beside this file.

    GX10_CLUSTER=lab python docs/comparison/ansible/describe.py > inventory.json

Units and configuration files come rendered: what is compared is the work on the hosts, not Jinja.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from gx10.access.remote import project_path
from gx10.described import gang_files, host_files, units
from gx10.described.description import Description, described_by_environment
from gx10.described.image_inputs import LABEL, archive_name
from gx10.operations.gang import CONTAINERS

SERVICES = {host_files.SHARE_UNIT: "share", host_files.FIREWALL_UNIT: "firewall"}


def described_file(path: str, content: bytes, mode: str = "644") -> dict[str, str]:
    """A file as the playbook's loops take it."""
    return {"path": path, "content": content.decode(), "mode": f"0{mode}"}


def service_files(service: host_files.Service) -> list[dict[str, str]]:
    """Configuration and unit of one of the host's own services."""
    unit = f"{host_files.UNITS}/{service.unit}"
    return [described_file(service.path, service.text), described_file(unit, service.unit_text)]


def of_host(description: Description, name: str) -> dict[str, Any]:
    """Variables of one host."""
    cluster = description.cluster
    gang = gang_files.ray_files(description, name) + gang_files.supervisor_files(description, name)
    parts = [gang_files.ray_unit(cluster, name)]
    if name == cluster.head:
        gang += gang_files.engine_files(description)
        parts.append(gang_files.ENGINE_UNIT)
    return {
        "fabric_address": cluster.hosts[name].address,
        "share_files": service_files(host_files.share(description, name)),
        "firewall_files": service_files(host_files.firewall(description)),
        "gang_files": [described_file(file.path, file.content, file.mode) for file in gang],
        "gang_units": [gang_files.GANG_UNIT],
        "gang_containers": [CONTAINERS[part] for part in parts],
    }


def of_all(description: Description) -> dict[str, Any]:
    """Variables that all hosts share."""
    cluster = description.cluster
    access = cluster.access
    arguments = f"-F {project_path(description, access.ssh_config)}" if access.ssh_config else ""
    return {
        "ansible_user": access.user,
        "ansible_ssh_common_args": arguments,
        "ansible_python_interpreter": "/usr/bin/python3",
        "head": cluster.head,
        "architecture": cluster.host.architecture,
        "fabric_interface": cluster.networks.fabric[0].interface,
        "min_free_bytes": int(cluster.host.min_free_gib * 2**30),
        "packages": list(cluster.host.packages),
        "sysctls": dict(cluster.host.sysctls),
        "host_names": list(host_files.host_names(cluster)),
        "state": str(cluster.paths.state),
        "archive": str(cluster.paths.archive),
        "model_root": str(cluster.paths.model_root),
        "model_directory": description.model_directory,
        "host_services": list(SERVICES),
        "image_reference": description.image_reference,
        "image_label": LABEL,
        "image_digest": description.inputs.digest,
        "image_manifest": archive_name(description.image_reference),
        "generation_label": units.GENERATION_LABEL,
        "engine_url": description.local_url,
        "served_name": description.served_name,
        "budget_gib": description.budget_gib,
    }


def main() -> None:
    """Print the inventory."""
    description = described_by_environment()
    hosts = {name: of_host(description, name) for name in description.cluster.hosts}
    json.dump({"all": {"hosts": hosts, "vars": of_all(description)}}, sys.stdout, indent=1)


if __name__ == "__main__":
    main()

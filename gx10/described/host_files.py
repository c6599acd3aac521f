"""What stands on every host beside the gang's own units: programs, kernel parameters, share and firewall."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gx10_host import ENTRY

from gx10.closure import closure
from gx10.settings import Cluster
from gx10.settings.cluster import SHARE_PORT

from .description import Description, once
from .generation import digest
from .templates import render

PROGRAMS = "usr/local/lib/gx10_host"
FORMER_PROGRAMS = "usr/local/lib/gx10"
"""Where versions before this package kept their programs, each a file by itself."""
SHARE_UNIT = "gx10-share.service"
FIREWALL_UNIT = "gx10-firewall.service"
UNITS = "/etc/systemd/system"
SYSCTL_FILE = "/etc/sysctl.d/90-gx10.conf"
SYSCTL_UNIT = "systemd-sysctl.service"


@dataclass(frozen=True)
class Service:
    """A service with its configuration file; its digest tells whether the running one is the described one."""

    unit: str
    unit_text: bytes
    path: str
    text: bytes
    digest: str


@once
def programs(description: Description) -> dict[str, bytes]:
    """The hosts' package with its entry, by path on the host."""
    return _programs(description.project)


@cache
def _programs(project: Path) -> dict[str, bytes]:
    root = project / "files"
    paths = [Path(f"{root}{ENTRY}"), *sorted((root / PROGRAMS).rglob("*.py"))]
    return {f"/{path.relative_to(root)}": path.read_bytes() for path in paths}


def is_former_program(path: str) -> bool:
    """Whether a path is that of a program as earlier versions had them."""
    directory, _, name = path.rpartition("/")
    return directory == f"/{FORMER_PROGRAMS}" and name.endswith(".py")


def program_directories(description: Description) -> tuple[str, ...]:
    """Directories of the hosts' package, each after that which it lies in."""
    modules = (path for path in programs(description) if path != ENTRY)
    return tuple(sorted({path.rpartition("/")[0] for path in modules}))


def sysctl_file(cluster: Cluster) -> bytes:
    """The file that sets the kernel parameters at boot."""
    return "".join(f"{name} = {value}\n" for name, value in cluster.host.sysctls.items()).encode()


def host_names(cluster: Cluster) -> tuple[str, ...]:
    """Lines of /etc/hosts that lead every host's name to the fabric."""
    return tuple(f"{described.address} {name}" for name, described in cluster.hosts.items())


def share_urls(cluster: Cluster, host: str) -> list[str]:
    """URLs of a host's share: one for each of its fabric addresses, so that a transfer can use all of them."""
    return [f"http://{address}:{SHARE_PORT}" for address in cluster.hosts[host].fabric]


def transfers_file(cluster: Cluster) -> str:
    """The file that keeps, on each host, what its last transfers came to."""
    return str(cluster.paths.state / "transfers.json")


def daemon_record(cluster: Cluster) -> str:
    """The file that keeps, on each host, what its Docker daemon was when the described engine last answered."""
    return str(cluster.paths.state / "docker-served.json")


def image_policy_file(description: Description) -> bytes:
    """What a host shall keep of images, for its own `gx10-host images`."""
    policy = description.image_policy(description.image_reference)
    return (json.dumps(policy, indent=2, sort_keys=True) + "\n").encode()


@once
def share(description: Description, host: str) -> Service:
    """The read-only share of weights and archives, bound to the host's fabric addresses."""
    cluster = description.cluster
    values: dict[str, object] = {
        "addresses": [str(address) for address in cluster.hosts[host].fabric],
        "port": SHARE_PORT,
        "subnets": [str(rail.subnet) for rail in cluster.networks.fabric],
        "model_root": str(cluster.paths.model_root),
        "archive": str(cluster.paths.archive),
    }
    texts = closure(description.project, "content.share")
    return _service(description, SHARE_UNIT, "/etc/gx10/share.conf", values, texts)


@once
def firewall(description: Description) -> Service:
    """The table that keeps the gang's control ports on the fabric."""
    cluster = description.cluster
    ports = cluster.ray.ports.model_dump()
    first, last = ports.pop("worker_min"), ports.pop("worker_max")
    values: dict[str, object] = {
        "fabric_interfaces": ", ".join(f'"{rail.interface}"' for rail in cluster.networks.fabric),
        "closed_ports": ", ".join(
            [str(SHARE_PORT), str(cluster.gang.port), *map(str, sorted(ports.values())), f"{first}-{last}"]
        ),
    }
    return _service(description, FIREWALL_UNIT, "/etc/gx10/firewall.nft", values)


def running_marker(unit: str) -> str:
    """File under /run in which a unit writes, when it starts, the digest of the configuration it started with."""
    return f"/run/gx10/{unit}"


def _service(
    description: Description, unit: str, path: str, values: dict[str, object], programs: Mapping[str, str] | None = None
) -> Service:
    text = render(description.project, path, **values)
    marker = running_marker(unit)
    bare = render(description.project, f"{UNITS}/{unit}", digest="", marker=marker)
    configured = digest({"unit": bare.decode(), "configuration": text.decode(), "programs": programs or {}})
    unit_text = render(description.project, f"{UNITS}/{unit}", digest=configured, marker=marker)
    return Service(unit, unit_text, path, text, configured)

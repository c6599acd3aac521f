"""Guards of the cluster file: addresses, networks, ports and directories that cannot be what somebody means."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, ip_network
from itertools import combinations
from pathlib import PurePosixPath

from gx10.settings import Cluster, Problem
from gx10.settings.cluster import SHARE, Paths

from ..vllm.values import closest
from .environment import cluster_environment_problems

#: Reserved for documentation by RFC 5737: what the example file is made of.
DOCUMENTATION = tuple(ip_network(net) for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"))


#: What people write for "none" in YAML, and is a word there.
NO_ARCHIVE = frozenset({"none", "nil", "no", "false", "off", "-"})

#: Trees of the operating system: nothing of ours stands in them.
SYSTEM = tuple(
    map(
        PurePosixPath,
        ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr"),
    )
)
#: Directories that others use as well: ours stand below them.
SHARED = frozenset(
    map(
        PurePosixPath,
        ("/home", "/media", "/mnt", "/opt", "/root", "/srv", "/tmp", "/var", "/var/cache", "/var/lib", "/var/log"),  # noqa: S108
    )
)


def cluster_problems(cluster: Cluster, file: str) -> Iterator[Problem]:
    """Everything about the cluster file that needs no recipe."""
    yield from _named(cluster, file)
    yield from _documentation(cluster, file)
    yield from _kinds(cluster, file)
    yield from _duplicates(cluster, file)
    yield from _rails(cluster, file)
    yield from _membership(cluster, file)
    yield from _overlaps(cluster, file)
    yield from _interfaces(cluster, file)
    yield from _ports(cluster, file)
    yield from _login(cluster, file)
    yield from _directories(cluster, file)
    yield from _memory(cluster, file)
    yield from cluster_environment_problems(cluster, file)


def networks(cluster: Cluster) -> Iterator[tuple[str, IPv4Network]]:
    """Every network with its key."""
    yield "networks.management.subnet", cluster.networks.management.subnet
    for index, rail in enumerate(cluster.networks.fabric):
        yield f"networks.fabric.{index}.subnet", rail.subnet


def addresses(cluster: Cluster) -> Iterator[tuple[str, IPv4Address]]:
    """Every address of every host with its key."""
    for name, host in cluster.hosts.items():
        yield f"hosts.{name}.management", host.management
        for index, address in enumerate(host.fabric):
            yield f"hosts.{name}.fabric.{index}", address


def _named(cluster: Cluster, file: str) -> Iterator[Problem]:
    """Hosts that other keys name."""
    roles = [("head", cluster.head, "the head"), ("reconcile.node", cluster.reconcile.node, "the reconciler's host")]
    for key, name, role in roles:
        if name is not None and name not in cluster.hosts:
            near = closest(name, cluster.hosts)
            remedy = f"Did you mean {near}?" if near else f"Name one of: {', '.join(cluster.hosts)}."
            yield Problem(file, key, repr(name), f"{role} must be one of the hosts", remedy)


def _documentation(cluster: Cluster, file: str) -> Iterator[Problem]:
    of_example = [(key, address) for key, address in addresses(cluster) if any(address in net for net in DOCUMENTATION)]
    if len(of_example) == len(list(addresses(cluster))):
        shown = ", ".join(str(host.management) for host in cluster.hosts.values())
        rule = "these are the addresses of the example, reserved for documentation: no host has them"
        remedy = "Write your hosts' own addresses, interfaces and subnets; `ip -br addr` on each host shows them."
        yield Problem(file, "hosts", shown, rule, remedy)
        return
    for key, address in of_example:
        rule = "this is an address of the example, reserved for documentation"
        remedy = "Write the host's own address; `ip -br addr` on the host shows it."
        yield Problem(file, key, str(address), rule, remedy)
    for key, subnet in networks(cluster):
        if any(subnet.overlaps(net) for net in DOCUMENTATION):
            rule = "this is a network of the example, reserved for documentation"
            yield Problem(file, key, str(subnet), rule, "Write your own network, such as 192.168.177.0/24.")


def _kinds(cluster: Cluster, file: str) -> Iterator[Problem]:
    for key, address in addresses(cluster):
        if address.is_loopback or address.is_multicast or address.is_unspecified:
            rule = "no other host reaches a host at such an address"
            yield Problem(file, key, str(address), rule, "Write the host's own address; `ip -br addr` shows it.")


def _duplicates(cluster: Cluster, file: str) -> Iterator[Problem]:
    first: dict[IPv4Address, str] = {}
    for key, address in addresses(cluster):
        if address in first:
            rule = f"{first[address]} has the same address"
            yield Problem(file, key, str(address), rule, "Give every host, and every rail, its own address.")
        first.setdefault(address, key)


def _rails(cluster: Cluster, file: str) -> Iterator[Problem]:
    wanted = len(cluster.networks.fabric)
    for name, host in cluster.hosts.items():
        if len(host.fabric) != wanted:
            rule = f"networks.fabric has {wanted} rails, so every host has {wanted} fabric addresses"
            remedy = "Give one address per rail, in the order of networks.fabric."
            yield Problem(file, f"hosts.{name}.fabric", f"{len(host.fabric)} addresses", rule, remedy)


def _membership(cluster: Cluster, file: str) -> Iterator[Problem]:
    subnets = dict(networks(cluster))
    for name, host in cluster.hosts.items():
        places = [(f"hosts.{name}.management", host.management, "networks.management.subnet")]
        rails = enumerate(host.fabric[: len(cluster.networks.fabric)])
        places += [(f"hosts.{name}.fabric.{i}", address, f"networks.fabric.{i}.subnet") for i, address in rails]
        for key, address, of in places:
            subnet = subnets[of]
            if address not in subnet:
                rule = f"it lies outside {subnet}, which is {of}"
                yield Problem(file, key, str(address), rule, "Correct the address or the subnet.")
            elif subnet.prefixlen < 31 and address in {subnet.network_address, subnet.broadcast_address}:
                rule = f"it is the network or broadcast address of {subnet}"
                yield Problem(file, key, str(address), rule, "Write an address that a host can have.")


def _overlaps(cluster: Cluster, file: str) -> Iterator[Problem]:
    for (key, subnet), (other_key, other) in combinations(networks(cluster), 2):
        if subnet.overlaps(other):
            yield Problem(
                file,
                other_key,
                str(other),
                f"it overlaps {subnet}, which is {key}",
                "Give management and every rail a subnet of its own.",
                "the kernel would send fabric traffic out of whichever interface it finds first",
            )


def _interfaces(cluster: Cluster, file: str) -> Iterator[Problem]:
    named = [("networks.management.interface", cluster.networks.management.interface)]
    named += [(f"networks.fabric.{i}.interface", rail.interface) for i, rail in enumerate(cluster.networks.fabric)]
    rdma = [(f"networks.fabric.{i}.rdma_device", rail.rdma_device) for i, rail in enumerate(cluster.networks.fabric)]
    yield from _repeated(file, named, "interface")
    yield from _repeated(file, [(key, device) for key, device in rdma if device], "RDMA device")


def _repeated(file: str, named: list[tuple[str, str]], what: str) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for key, name in named:
        if name in first:
            rule = f"{first[name]} names the same {what}"
            yield Problem(file, key, repr(name), rule, f"Each network has its own {what}; `ip -br link` shows them.")
        first.setdefault(name, key)


def _ports(cluster: Cluster, file: str) -> Iterator[Problem]:
    ports, bound = cluster.ray.ports, cluster.bound_ports
    for key, port in bound.items():
        if key in ("access.port", SHARE):  # Whoever else has it should move.
            continue
        if others := [other for other, its in bound.items() if its == port and other != key]:
            rule = f"{', '.join(others)} has the same port"
            yield Problem(file, key, str(port), rule, "Every port of a host is one program's: give each its own.")
        if ports.worker_min <= port <= ports.worker_max:
            rule = f"it lies in the range of the workers, {ports.worker_min} to {ports.worker_max}"
            yield Problem(file, key, str(port), rule, "Move the port, or ray.ports.worker_min and worker_max.")
    if ports.worker_min > ports.worker_max:
        rule = f"it is above worker_max, {ports.worker_max}"
        yield Problem(file, "ray.ports.worker_min", str(ports.worker_min), rule, "Swap the two.")
    elif ports.worker_max - ports.worker_min < 99:
        rule = f"only {ports.worker_max - ports.worker_min + 1} ports are left for Ray's worker processes"
        remedy = "Leave at least 100: ray.ports.worker_max = worker_min + 99 or more."
        yield Problem(file, "ray.ports.worker_max", str(ports.worker_max), rule, remedy)


def _login(cluster: Cluster, file: str) -> Iterator[Problem]:
    if cluster.access.user != "root":
        rule = "units, Docker and kernel parameters are root's work, and this package does not use sudo yet"
        yield Problem(file, "access.user", repr(cluster.access.user), rule, "Log in as root, with a key.")
    archive = cluster.retention.control_archive
    if archive is not None and str(archive).lower() in NO_ARCHIVE:
        rule = "it would be a directory of that name"
        yield Problem(file, "retention.control_archive", repr(str(archive)), rule, "Write null for no archive.")


def _directories(cluster: Cluster, file: str) -> Iterator[Problem]:
    paths = cluster.paths
    for name, path in (("state", paths.state), ("archive", paths.archive)):
        if _inside(path, paths.model_root):
            yield Problem(
                file,
                f"paths.{name}",
                str(path),
                f"it lies inside the model root {paths.model_root}",
                "Put it beside the model root, such as /var/lib/gx10.",
                "clean-up removes what it does not know inside the model root, and nothing elsewhere",
            )
    for name, path in (("model_root", paths.model_root), ("state", paths.state), ("archive", paths.archive)):
        if path in SHARED or any(_inside(path, tree) for tree in SYSTEM):
            rule = "this directory belongs to the system, and clean-up deletes in directories of ours"
            remedy = f"Use a directory of its own, such as {_default_path(name)}."
            yield Problem(file, f"paths.{name}", str(path), rule, remedy)


def _default_path(name: str) -> str:
    """The default of a path, as a remedy."""
    return str(Paths.model_fields[name].default)


def _inside(path: PurePosixPath, above: PurePosixPath) -> bool:
    return path == above or above in path.parents


def _memory(cluster: Cluster, file: str) -> Iterator[Problem]:
    name, host = min(cluster.hosts.items(), key=lambda item: item[1].visible_memory_gib)
    needed, cap = cluster.host.needed_to_start_gib, cluster.container.memory_cap_gib
    if needed is not None and needed > host.visible_memory_gib:
        rule = f"{name} shows {host.visible_memory_gib:g} GiB in all, so its rank would never start"
        remedy = f"Write less than {host.visible_memory_gib:g}."
        yield Problem(file, "host.needed_to_start_gib", f"{needed:g}", rule, remedy)
    store = cluster.ray.object_store_gib
    if cap is not None and cap <= store:
        rule = f"Ray's object store alone may take {store:g} GiB of it (ray.object_store_gib)"
        remedy = f"Write more than {store:g}, with room for what Ray and the engine take themselves."
        yield Problem(file, "container.memory_cap_gib", f"{cap:g}", rule, remedy)

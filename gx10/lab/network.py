"""The lab's networks: two bridges in the lab's namespace, two cables to the namespace of every host that has power.

A host's namespace lives as long as its power is on: connections, firewall and Docker's bridges are gone after a power
cut as they are on hardware, and nothing answers for a dead host.
"""

from __future__ import annotations

import json
import os
import signal
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from .cache import cache_directory, locked
from .names import LabNames
from .plan import HostPlan, LabPlan, NetworkPlan
from .shell import must, succeeds

NAMESPACES = Path("/run/netns")


@dataclass(frozen=True)
class Network:
    """The networks of one lab."""

    names: LabNames
    plan: LabPlan

    def create(self) -> None:
        """Make the lab's namespace and bridges, whole or again where a crash left half of them."""
        with self._namespaces_locked():
            if not _is_namespace(self.names.lab):
                _forget_namespace(self.names.lab)
                must(["ip", "netns", "add", self.names.lab], f"create the network namespace {self.names.lab}")
        present = self._links()
        commands = ["link set lo up"]
        for network in self.plan.networks:
            if present.get(network.name):
                continue
            if network.name in present:
                commands.append(f"link delete {network.name}")
            commands.append(f"link add {network.name} mtu {network.mtu_bytes} type bridge stp_state 0 forward_delay 0")
            if network.lab_address is not None:
                commands.append(f"address add {network.lab_address}/24 dev {network.name}")
            # Up comes last: a bridge that is up is complete.
            commands.append(f"link set {network.name} up")
        self._batch(self.names.lab, commands)

    def connect(self, host: HostPlan) -> None:
        """Give the host a namespace with its interfaces and addresses; pulled cables stay pulled."""
        namespace = self.names.machine(host)
        self.disconnect(host)
        with self._namespaces_locked():
            must(["ip", "netns", "add", namespace], f"create the network namespace of {host.name}")
        cables, interfaces = [], ["link set lo up"]
        for network in self.plan.networks:
            cable = network.cable(host.number)
            state = "down" if self.is_cut(host, network) else "up"
            mtu = network.mtu_bytes
            cables += [
                f"link add {cable} mtu {mtu} type veth peer name {network.interface} mtu {mtu} "
                f"address {network.hardware_address(host.number)} netns {namespace}",
                f"link set {cable} master {network.name} {state}",
            ]
            interfaces += [
                f"address add {network.address(host.number)}/24 dev {network.interface}",
                f"link set {network.interface} up",
            ]
        self._batch(self.names.lab, cables)
        self._batch(namespace, interfaces)

    def disconnect(self, host: HostPlan) -> None:
        """Take the host off the networks, at once and without a word to its peers, and remove its namespace."""
        if _is_namespace(self.names.lab):
            for network in self.plan.networks:
                succeeds(["ip", "-n", self.names.lab, "link", "delete", network.cable(host.number)])
        self._remove(self.names.machine(host))

    def is_connected(self, host: HostPlan, process: int) -> bool:
        """Whether the running `process` of the host is on both networks."""
        try:
            inside = _is_in(process, self.names.machine(host))
        except OSError:
            return False
        return inside and {network.cable(host.number) for network in self.plan.networks} <= self._links().keys()

    @property
    def exists(self) -> bool:
        """Whether the lab's namespace is there."""
        return _is_namespace(self.names.lab)

    def is_cut(self, host: HostPlan, network: NetworkPlan) -> bool:
        """Whether the cable is pulled."""
        return self.names.cut_mark(host, network.name).exists()

    def cut(self, host: HostPlan, network: NetworkPlan) -> None:
        """Pull the cable: both ends lose their carrier."""
        mark = self.names.cut_mark(host, network.name)
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
        self._set_cable(host, network, "down")

    def mend(self, host: HostPlan) -> None:
        """Plug both cables in."""
        for network in self.plan.networks:
            self.names.cut_mark(host, network.name).unlink(missing_ok=True)
            self._set_cable(host, network, "up")

    def remove(self) -> None:
        """Remove every namespace of the lab, found by its name, and with them bridges, cables and who is inside.

        Inside are the machine's ends of ssh connections: they would wait for hosts that are gone.
        """
        for name in namespaces_of(self.names.lab):
            for process in _processes_in(name):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            self._remove(name)
        with self._namespaces_locked():
            if NAMESPACES.is_dir() and not any(NAMESPACES.iterdir()):
                # `ip netns add` mounted the empty directory on itself. Both refuse while anybody uses it.
                succeeds(["umount", str(NAMESPACES)])
                with suppress(OSError):
                    NAMESPACES.rmdir()

    def _set_cable(self, host: HostPlan, network: NetworkPlan, state: str) -> None:
        if network.cable(host.number) in self._links():
            self._batch(self.names.lab, [f"link set {network.cable(host.number)} {state}"])

    def _links(self) -> dict[str, bool]:
        """The lab's links and whether each is set up."""
        if not _is_namespace(self.names.lab):
            return {}
        listed = must(["ip", "-n", self.names.lab, "-json", "link", "show"], "list the lab's network links")
        return {link["ifname"]: "UP" in link["flags"] for link in json.loads(listed)}

    def _batch(self, namespace: str, commands: list[str]) -> None:
        must(
            ["ip", "-n", namespace, "-batch", "-"],
            f"set up the network in {namespace}",
            stdin="".join(f"{command}\n" for command in commands),
        )

    def _remove(self, namespace: str) -> None:
        with self._namespaces_locked():
            if _is_namespace(namespace):
                must(["ip", "netns", "delete", namespace], f"remove the network namespace {namespace}")
            else:
                _forget_namespace(namespace)

    def _namespaces_locked(self) -> AbstractContextManager[int]:
        return locked(cache_directory() / "namespaces.lock")


def namespaces_of(lab: str) -> list[str]:
    """Names of all network namespaces of the lab, the hosts' first."""
    if not NAMESPACES.is_dir():
        return []
    found = [path.name for path in NAMESPACES.iterdir() if path.name == lab or path.name.startswith(f"{lab}-")]
    return sorted(found, reverse=True)


def _is_in(process: int, namespace: str) -> bool:
    """Whether the process is in the network namespace; OSError when one of both is gone."""
    return Path(f"/proc/{process}/ns/net").samefile(NAMESPACES / namespace)


def _processes_in(namespace: str) -> list[int]:
    """Processes that are in the network namespace, whoever started them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if _is_in(int(process.name), namespace):
                found.append(int(process.name))
    return found


def _is_namespace(name: str) -> bool:
    """Whether the name stands for a live namespace; a crash of `ip netns add` leaves a plain file."""
    path = NAMESPACES / name
    try:
        return path.stat().st_dev != NAMESPACES.stat().st_dev
    except OSError:
        return False


def _forget_namespace(name: str) -> None:
    (NAMESPACES / name).unlink(missing_ok=True)

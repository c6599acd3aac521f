"""What a lab consists of: the hosts, their addresses and the two networks that join them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .errors import LabError

MOST_HOSTS = 8
"""Addresses would allow more; one machine's memory hardly does."""
NetworkName = Literal["management", "fabric"]


@dataclass(frozen=True)
class NetworkPlan:
    """One network of the lab: a bridge in the lab's namespace and a cable to every host."""

    name: NetworkName
    """Also the name of the bridge."""
    interface: str
    """What the network's interface is called inside every host."""
    prefix: str
    """The first three octets; a host's address ends in 10 + its number."""
    mtu_bytes: int
    lab_address: str | None
    """The address the machine itself has in this network, inside the lab's namespace; None: it has none."""

    def cable(self, number: int) -> str:
        """The lab's end of the cable to host `number`."""
        return f"{self.name[:6]}{number}"

    def hardware_address(self, number: int) -> str:
        """The interface's MAC address: as on hardware the same after every boot, so peers need not learn it anew."""
        octets = [int(part) for part in self.prefix.split(".")]
        return "02:67:" + ":".join(f"{octet:02x}" for octet in (*octets, 10 + number))

    def address(self, number: int) -> str:
        """The address of host `number`, without prefix length."""
        return f"{self.prefix}.{10 + number}"


@dataclass(frozen=True)
class HostPlan:
    """One host of the lab."""

    name: str
    number: int
    """Counts from 1; host 1 is the head."""
    management: str
    fabric: str

    @property
    def is_head(self) -> bool:
        """The head alone sees what its owner dropped for import."""
        return self.number == 1


@dataclass(frozen=True)
class LabPlan:
    """The lab's hosts and networks. `clusters/lab.yaml` describes the same hosts from the outside."""

    host_count: int = 4
    """As many as clusters/lab.yaml describes; `gx10 lab up --hosts` makes another number."""
    management: NetworkPlan = NetworkPlan("management", "mgmt0", "10.77.0", 1500, "10.77.0.1")
    # Jumbo frames as on the ConnectX-7 fabric; the machine has no address there, as a controller has none.
    fabric: NetworkPlan = NetworkPlan("fabric", "fabric0", "10.77.1", 9000, None)
    required_free_gb: int = 45
    """Free disk a full deployment needs where the hosts live, in 10^9 bytes."""

    @property
    def networks(self) -> tuple[NetworkPlan, NetworkPlan]:
        """Management first."""
        return (self.management, self.fabric)

    @property
    def hosts(self) -> tuple[HostPlan, ...]:
        """All hosts, the head first."""
        return tuple(
            HostPlan(f"gx10-{number}", number, self.management.address(number), self.fabric.address(number))
            for number in range(1, self.host_count + 1)
        )

    def host(self, name: str) -> HostPlan:
        """The host called `name`; LabError when there is none."""
        for host in self.hosts:
            if name in (host.name, host.management):
                return host
        known = ", ".join(host.name for host in self.hosts)
        raise LabError(f"There is no host {name!r} in the lab; its hosts are {known}.")

    def network(self, name: str) -> NetworkPlan:
        """The network called `name`; LabError when there is none."""
        for network in self.networks:
            if network.name == name:
                return network
        raise LabError(f"There is no network {name!r} in the lab; its networks are management and fabric.")

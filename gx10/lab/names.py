"""What a lab's parts are called on this machine; every name carries the lab's id, so labs never collide."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .plan import HostPlan


@dataclass(frozen=True)
class LabNames:
    """Names and paths of the lab that belongs to one checkout."""

    checkout: Path
    """Absolute, without symbolic links: two ways to write one path are one lab."""

    @classmethod
    def for_checkout(cls, checkout: Path) -> LabNames:
        """The names of the lab of the checkout at this path."""
        return cls(checkout.resolve())

    @cached_property
    def lab(self) -> str:
        """The lab's id and the name of its network namespace: `gx10lab-` and 8 hex digits of the path's sha256."""
        return f"gx10lab-{hashlib.sha256(str(self.checkout).encode()).hexdigest()[:8]}"

    def machine(self, host: HostPlan) -> str:
        """Name of the host's machine, of its network namespace and of its control group."""
        return f"{self.lab}-{host.number}"

    @property
    def state(self) -> Path:
        """Everything the lab keeps outside the cache."""
        return self.checkout / ".lab"

    @property
    def ssh(self) -> Path:
        """Keys, known hosts and the ssh configuration."""
        return self.state / "ssh"

    @property
    def ssh_config(self) -> Path:
        """`ssh -F` this file to log in to any host by name or management address."""
        return self.ssh / "config"

    @property
    def hosts(self) -> Path:
        """One directory per host."""
        return self.state / "hosts"

    def disk(self, host: HostPlan) -> Path:
        """The host's own storage: upper, work, root, docker, models."""
        return self.hosts / host.name

    def console(self, host: HostPlan) -> Path:
        """What the host wrote to its console, all boots."""
        return self.state / "console" / f"{host.name}.log"

    def cut_mark(self, host: HostPlan, network: str) -> Path:
        """Stands while the cable is pulled, so that it stays pulled over a power cycle."""
        return self.state / "cut" / f"{host.name}-{network}"

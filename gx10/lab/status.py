"""What each host of the lab is now."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .host import Host

CableState = Literal["connected", "cut", "no power"]


@dataclass(frozen=True)
class HostStatus:
    """One host as seen from outside."""

    name: str
    power: Literal["on", "off"]
    management: CableState
    fabric: CableState
    ssh: bool
    docker: str | None
    """Version of the Docker engine that answers; None when none does."""
    memory_mib: int
    """Memory of all its processes, each shared page counted once among those who share it."""


def status_of(host: Host) -> HostStatus:
    """Look at the host without changing anything."""
    on = host.is_on
    ssh, docker = _ask(host) if on else (False, None)
    plan = host.network.plan
    return HostStatus(
        name=host.host.name,
        power="on" if on else "off",
        management=_cable(host, on, host.network.is_cut(host.host, plan.management)),
        fabric=_cable(host, on, host.network.is_cut(host.host, plan.fabric)),
        ssh=ssh,
        docker=docker,
        memory_mib=sum(_proportional_kib(process) for process in host.group.processes()) // 1024 if on else 0,
    )


def _cable(host: Host, on: bool, cut: bool) -> CableState:
    if cut:
        return "cut"
    return "connected" if on and host.is_whole else "no power"


def _ask(host: Host) -> tuple[bool, str | None]:
    command = [*host.access.command(host.host), "timeout 5 docker version --format '{{.Server.Version}}' || true"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False
        )
    except subprocess.TimeoutExpired:
        return False, None
    # Debian's build suffix (26.1.5+dfsg1) says nothing about the engine.
    return done.returncode == 0, done.stdout.strip().partition("+")[0] or None


def _proportional_kib(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended meanwhile
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)

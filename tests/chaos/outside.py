"""The lab's hosts as this machine sees them: their processes, their files below /run, and who is a rank of which life.

Nothing here asks a host: what a host says of itself is what is to be proven.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gx10.lab.lab import Lab

MARK = b"GX10_RANK_OF="


@dataclass(frozen=True)
class Process:
    """A process of a host, seen from the machine."""

    host: str
    process: int
    command: str
    life: str
    control_groups: str

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.process, number)


def processes(lab: Lab) -> Iterator[Process]:
    """Processes of all hosts of the lab that belong to a life.

    The engine core writes its title over where its environment begins: it belongs to its container's life.
    """
    lives: dict[str, str] = {}
    bare: list[tuple[int, str, str]] = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            environment = (directory / "environ").read_bytes()
            if MARK not in environment and environment[:1] not in (b"", b"\0"):
                continue
            control_groups = (directory / "cgroup").read_text()
            command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        words = environment.split(b"\0")
        life = next((word[len(MARK) :].decode() for word in words if word.startswith(MARK)), "")
        if not life and command:
            bare.append((int(directory.name), command, control_groups))
        elif life and (host := host_of(lab, control_groups)):
            lives[control_groups] = life
            yield Process(host, int(directory.name), command, life, control_groups)
    for number, command, control_groups in bare:
        if control_groups in lives:
            yield Process(host_of(lab, control_groups), number, command, lives[control_groups], control_groups)


def host_of(lab: Lab, control_groups: str) -> str:
    """The host that a process is in, by its control group."""
    for host in lab.plan.hosts:
        if f"/{lab.names.machine(host)}/" in control_groups:
            return host.name
    return ""


def picture(lab: Lab, head: str = "gx10-1") -> dict[str, Any] | None:
    """What the head's supervisor last wrote down, read past the host itself."""
    for directory in inside(lab, head):
        try:
            told: dict[str, Any] = json.loads((directory / "run/gx10/gang.json").read_text())["picture"]
        except (OSError, ValueError, LookupError):
            continue
        return told
    return None


def inside(lab: Lab, name: str) -> Iterator[Path]:
    """The root of a host's file system, by way of its processes."""
    group = lab._host(lab.plan.host(name)).group
    for process in group.processes():
        root = Path(f"/proc/{process}/root")
        if (root / "etc/gx10").is_dir():
            yield root


@dataclass
class Watcher:
    """Looks at all ranks again and again, and notes every moment at which two lives had one."""

    lab: Lab
    pause: float = 0.2
    violations: list[str] = field(default_factory=list)
    scans: int = 0
    lives: set[str] = field(default_factory=set)
    _ends: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Watcher:
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()

    def _run(self) -> None:
        while not self._ends.wait(self.pause):
            found: dict[str, Process] = {}
            for process in processes(self.lab):
                found.setdefault(process.life, process)
            self.scans += 1
            self.lives |= found.keys()
            # Both must still be there after both were seen, or one ended while the other began.
            alive = [process for process in found.values() if _lives(process)]
            if len(alive) > 1:
                told = ", ".join(f"{one.life} on {one.host} ({one.command[:60]})" for one in alive)
                self.violations.append(f"{time.time():.1f}: {told}")


def _lives(process: Process) -> bool:
    try:
        return process.life.encode() in Path(f"/proc/{process.process}/environ").read_bytes()
    except OSError:
        return False

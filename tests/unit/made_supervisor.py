"""A supervisor as it runs on a host, but for the host: its units and ranks are made, its state lies in a directory.

made_supervisor.py CONFIG DIRECTORY LINK_SECONDS
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from gx10_host.gang import supervisor
from gx10_host.gang.agent import Agent
from gx10_host.gang.guard import Guard
from gx10_host.gang.kept import Files
from gx10_host.gang.store import Store
from gx10_host.wire import Life

IDLE = {"ActiveState": "inactive", "SubState": "dead", "MainPID": "0", "Job": "0"}
RUNNING = {"ActiveState": "active", "SubState": "running", "MainPID": "7", "Job": "0"}


class MadeHost:
    """Units that run as soon as they are started."""

    def __init__(self) -> None:
        self.lives: dict[str, str] = {}

    @property
    def footprint(self) -> dict[str, str]:
        """What runs."""
        return dict(self.lives)

    def units(self, names: list[str]) -> dict[str, dict[str, str]]:
        """States of units."""
        return {name: RUNNING if name in self.lives else IDLE for name in names}

    def start(self, unit: str, life: Life, _rank: str, _fallback: int) -> None:
        """Start a unit."""
        self.lives[unit] = str(life)

    def stop(self, unit: str, _leaving: bool) -> None:
        """Stop a unit."""
        self.lives.pop(unit, None)

    def ranks(self) -> list[str]:
        """Lives on this host."""
        return sorted(set(self.lives.values()))

    def kill(self, but: str = "") -> None:
        """SIGKILL."""
        self.lives = {unit: life for unit, life in self.lives.items() if life == but}

    def boot(self) -> str:
        """Boot."""
        return "boot"

    def available_gib(self) -> float:
        """Memory."""
        return 100.0

    def needs(self, fallback: int) -> list[str]:
        """What it lacks."""
        return []

    def evidence(self, _since: float) -> dict[str, Any]:
        """What is left of a life."""
        return {}


class MadeDoor:
    """A door without a firewall."""

    def move(self, _step: int) -> str:
        """Move."""
        return ""


def main(path: str, place: str, link_seconds: str) -> None:
    """Supervise until killed."""
    config, directory = json.loads(Path(path).read_text()), Path(place)
    supervisor.LINK_SECONDS = float(link_seconds)
    guard = Guard(supervisor.tell)
    files = Files(config, directory, directory / "kept")
    agent = Agent(config, MadeHost(), files=files, run=directory, tell=supervisor.tell, guard=guard)
    server = supervisor.served(agent, config["hosts"][config["host"]], config["port"])
    supervisor.repeat(guard, "taking orders", server.serve_forever, 1)
    conductor = None
    if config["host"] == config["head"]:
        store = Store(config, directory / "state", directory, supervisor.tell)
        conductor = supervisor.conducted(config, agent, guard, store, MadeDoor())  # type: ignore[arg-type]
    supervisor.repeat(guard, "this host's part", agent.step, 0.3)
    loop = supervisor.Supervisor(config, agent, conductor, guard)
    while loop.step(leaving=False):
        time.sleep(0.2)


if __name__ == "__main__":
    main(*sys.argv[1:])

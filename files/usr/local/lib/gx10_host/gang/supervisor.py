"""Supervises this host's part in the gang, and on the head the gang itself.

    gx10-host gang --config FILE

The head orders every host once a second, over the fabric; an order is a lease (see agent.py). What is judged from
the answers is in conductor.py. SIGHUP takes up a new configuration or program without touching the gang; SIGTERM
drains and ends it, as at a shutdown.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from gx10_host.checked import Refused, clean
from gx10_host.engine.api import Api
from gx10_host.gang import UNIT
from gx10_host.wire import Envelope, Malformed, Order, Report, Sworn

from .agent import Agent
from .conductor import Conductor
from .door import Door
from .exchange import Server, post
from .guard import Guard
from .liveness import Liveness
from .orders import Nonsense
from .store import Store, forget

STEP_SECONDS = 90
"""A host's own step takes longer than this only when it hangs; then systemd ends and starts this program."""
LONGEST_STATUS, LONGEST_TOLD = 250, 4000
OWN_SECONDS, LINK_SECONDS = 0.25, 1


def tell(text: str) -> None:
    """One line for the journal, whatever is quoted in it."""
    print(clean(text, LONGEST_TOLD), flush=True)


def served(agent: Agent, address: str, port: int) -> Server:
    """What takes orders of the head for a host, and refuses whatever is none."""
    return Server((address, port), agent.message, agent.nonsense.count, agent.guard.count)


class Link:
    """A host as the head knows it: the order it is to get, its last report and when that came."""

    def __init__(self, address: str, port: int, source: str, tell: Callable[[str], object] = tell) -> None:
        self.address, self.port, self.source = address, port, source
        self.order: Order | None = None
        self.report: Report | None = None
        self.heard = time.monotonic()
        self.offset = 0.0
        self.refusal: Sworn | None = None
        self.refused = 0.0
        """Whom the host says it obeys instead, and when it last said so."""
        self.answers = Nonsense("report", time.monotonic, tell)

    def ask(self) -> None:
        """Order once, from the head's own fabric address: the host obeys no other."""
        order = self.order
        if order is None:
            return
        try:
            status, body = post(self.address, self.port, self.source, Envelope(order.to_bytes()))
            if status == 403:
                self.refusal, self.refused = Sworn.parse(body), time.monotonic()
            elif status == 200:
                report = Report.parse(body)
                # A supervisor that answers but does not get its work done is as good as silent.
                self.heard, self.offset = time.monotonic() - report.age, round(report.time - time.time(), 1)
                self.report, self.refusal = report, None
            else:
                self.answers.count(self.address, f"status {status}: {body[:200].decode(errors='replace')}")
        except Refused as refused:
            self.answers.count(self.address, str(refused))
        except OSError:  # Not there, or too slow: silence, which the conductor sees.
            return

    def nonsense(self) -> tuple[Malformed, ...]:
        """What the host answered that was no report."""
        return self.answers.heard()


class Own(Link):
    """The head's own part, which needs no network."""

    def __init__(self, agent: Agent) -> None:
        super().__init__("", 0, "")
        self.agent = agent

    def ask(self) -> None:
        """Order once."""
        if self.order is not None:
            self.report = self.agent.obey(self.order)
            self.heard = time.monotonic() - self.report.age


def repeat(guard: Guard, step: str, work: Callable[[], object], seconds: float) -> None:
    """Do a step for ever, in a thread."""

    def run() -> None:
        while True:
            guard.run(step, work)
            time.sleep(seconds)

    threading.Thread(target=run, name=step, daemon=True).start()


def notify(text: str) -> None:
    """Tell systemd; one assignment, as a line's end within it would begin another."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there:
        try:
            there.connect("\0" + path[1:] if path.startswith("@") else path)
            there.sendall(clean(text, LONGEST_STATUS).encode())
        except OSError:
            pass


def mark(config: Mapping[str, Any]) -> None:
    """Write down which configuration and programs run, where the deploy looks."""
    path = pathlib.Path("/run/gx10", UNIT)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(config["digest"])


def conducted(config: Mapping[str, Any], agent: Agent, guard: Guard, store: Store, door: Door) -> Conductor:
    """The head's judgement, with its links and the engine's counters, at work."""
    source = config["hosts"][config["host"]]
    links = {
        name: Own(agent) if name == config["host"] else Link(address, config["port"], source)
        for name, address in config["hosts"].items()
    }
    api = Api(f"http://127.0.0.1:{config['api_port']}", config["model"], past_door=True)
    liveness = Liveness(api, config["liveness"])
    conductor = Conductor(config, links, liveness, door, store, tell=tell)
    for name, link in links.items():
        repeat(guard, f"ordering {name}", link.ask, OWN_SECONDS if isinstance(link, Own) else LINK_SECONDS)

    def look() -> None:
        if conductor.now.phase in ("serving", "draining"):
            liveness.look()

    repeat(guard, "watching the engine", look, 1)
    return conductor


def status_of(agent: Agent, conductor: Conductor | None) -> str:
    """What `systemctl status` shows."""
    if conductor is None:
        return agent.standing()
    now = conductor.now
    why = "; ".join(now.waiting) or (now.reason if now.phase == "deposed" else "")
    return f"{now.phase} {now.life or ''} {why}"


class Supervisor:
    """The steps of this program's own loop."""

    def __init__(self, config: Mapping[str, Any], agent: Agent, conductor: Conductor | None, guard: Guard) -> None:
        self.config, self.agent, self.conductor, self.guard = config, agent, conductor, guard
        self.judged = time.monotonic()
        self.until: float | None = None
        """When a supervisor that is to stop goes, whether all has ended or not."""
        self.gone = False

    def step(self, *, leaving: bool) -> bool:
        """Judge, tell systemd, and say whether to go on."""
        if leaving and self.until is None:
            self.agent.leaving = True
            patience = self.config["drain_timeout_seconds"] + self.config["stop_timeout_seconds"] + 30
            self.until = time.monotonic() + patience
            notify("STOPPING=1")
        if self.conductor is None or self.guard.run("judging", self.conductor.step):
            self.judged = time.monotonic()
        self.guard.run("telling systemd", lambda: notify(f"STATUS={status_of(self.agent, self.conductor)}"))
        # A step that hangs, or fails for so long without a break, is not mended by waiting: systemd starts this anew,
        # which touches no rank.
        if time.monotonic() - min(self.agent.stepped, self.judged) < STEP_SECONDS:
            notify("WATCHDOG=1")
        if self.until is None:
            return True
        self.guard.run("leaving", self._leave)
        return not self.gone and time.monotonic() <= self.until

    def _leave(self) -> None:
        self.gone = self.conductor.leave() if self.conductor is not None else self.agent.report.idle


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=pathlib.Path, required=True)
    arguments = parser.parse_args(argv)
    config = json.loads(arguments.config.read_text())
    guard = Guard(tell)
    agent = Agent(config, tell=tell, guard=guard)
    server = served(agent, config["hosts"][config["host"]], config["port"])
    repeat(guard, "taking orders", server.serve_forever, 1)
    conductor, door = None, Door(config["api_port"])
    if config["host"] == config["head"]:
        conductor = conducted(config, agent, guard, Store(config, tell=tell), door)
    else:
        forget()
        if problem := door.move(0):
            tell(f"gang: {problem}")
    mark(config)
    leaving: list[str] = []
    signal.signal(signal.SIGTERM, lambda *_: leaving.append("term"))
    again: list[str] = []
    signal.signal(signal.SIGHUP, lambda *_: again.append("hup"))
    repeat(guard, "this host's part", agent.step, 0.8)
    notify("READY=1")
    supervisor = Supervisor(config, agent, conductor, guard)
    while not again or leaving:
        if not supervisor.step(leaving=bool(leaving)):
            return
        time.sleep(0.5)
    with agent.stepping:  # Never between noting a start and starting.
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606

"""One host's part in the gang: does what the head orders, and only for as long as the head keeps ordering it.

An order is a lease. A host that no longer hears from the head ends its rank when the lease is over, so a rank that was
split off does not outlive its gang. Within one life every part is started once: a rank that died stays dead until the
head begins another life, which it does only when every host has said that no rank is left on it.

In one file because an order, the lease that it renews and the rank that it starts are judged under one lock.
"""

from __future__ import annotations

import dataclasses
import pathlib
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gx10_host import checked, memory
from gx10_host.checked import clean
from gx10_host.wire import (
    ADOPTED,
    LEASE_OVER,
    MOST_LIVES,
    MOST_NEEDS,
    NO_ORDER,
    Envelope,
    Evidence,
    Life,
    Order,
    Part,
    PartState,
    Report,
    Started,
    Sworn,
)
from gx10_host.write.whole import write_whole

from . import evidence as gang_evidence
from . import kept as gang_kept
from . import rank_gate, ranks
from .guard import Guard
from .orders import Allegiance, Nonsense

AGAIN_SECONDS = 15
RESTORE_AGAIN_SECONDS = 30
"""After which a generation that could not be put back is tried again."""
LONGEST_STATE = 64 * 1024
UNITS_SECONDS = 3
"""How often systemd is asked while no process of a rank has come or gone for as long: a question costs as much as all
else together. A unit ends some tenths of a second after its container's processes."""
RUN = pathlib.Path("/run/gx10")
DROP_INS = pathlib.Path("/run/systemd/system")
PROPERTIES = "Id,ActiveState,SubState,MainPID,Job,Result,ExecMainCode,ExecMainStatus,ExecMainExitTimestampMonotonic"
AFTER_THE_PROCESS = (
    "start-post",
    "stop",
    "stop-sigterm",
    "stop-sigkill",
    "stop-post",
    "final-sigterm",
    "final-sigkill",
)


Units = dict[str, dict[str, str]]
"""Properties of units by name."""


def systemctl(*words: str, seconds: float = 30) -> str:
    try:
        return subprocess.run(
            ["systemctl", *words], capture_output=True, text=True, timeout=seconds, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def docker_answers(path: str, seconds: float = 5) -> int:
    """Status of a GET of Docker's own API, without the price of its command; 0 where it does not answer."""
    try:
        with socket.socket(socket.AF_UNIX) as daemon:
            daemon.settimeout(seconds)
            daemon.connect("/var/run/docker.sock")
            daemon.sendall(f"GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
            return int(daemon.recv(64).split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def needed_to_start_gib(config: Mapping[str, Any], fallback: int) -> float:
    """Memory that must be available before a rank starts with a rung of the fallbacks, or with none.

    The head may know of more rungs than a host that a deploy has not reached yet: there the last one counts.
    """
    return float([config, *config["fallbacks"]][: fallback + 1][-1]["needed_to_start_gib"])


class Host:
    """This host as it is; the one place that touches it, so that tests can put another in its place."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.footprint: object = None
        """Processes of ranks as `ranks` last found them."""
        self.pool = ThreadPoolExecutor(8)

    def units(self, names: Iterable[str]) -> Units:
        """Properties of units by name."""
        told = {}
        for block in systemctl("show", "--property", PROPERTIES, "--", *names).strip().split("\n\n"):
            state = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
            told[state.get("Id", "")] = state
        return told

    def start(self, unit: str, life: Life, rank: str, fallback: int) -> None:
        """Start a unit in a life, whose name its processes and log lines carry."""
        fields = {"GX10_GENERATION": life.generation, "GX10_LIFE": life.number, "GX10_RANK": rank}
        lines = ["[Service]", f"Environment=GX10_LIFE={life.number}"]
        lines += [f"Environment=GX10_NEEDED_TO_START_GIB={needed_to_start_gib(self.config, fallback):g}"]
        lines += [f"LogExtraFields={name}={value}" for name, value in fields.items()]
        directory = DROP_INS / f"{unit}.d"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "50-life.conf").write_text("\n".join(lines) + "\n")
        if unit == self.config["engine_unit"]:
            given_up = directory / "60-fallback.conf"
            given_up.unlink(missing_ok=True)
            if 0 < fallback <= len(self.config["fallbacks"]):
                given_up.write_bytes(pathlib.Path(self.config["fallbacks"][fallback - 1]["file"]).read_bytes())
        systemctl("daemon-reload", seconds=90)
        systemctl("reset-failed", "--", unit)
        systemctl("start", "--no-block", "--", unit)

    def stop(self, unit: str, leaving: bool) -> None:
        """Begin to stop a unit.

        While the supervisor itself is to stop, a stop of its parts would wait for it, as they are ordered before it:
        then they get the signal, which the client hands on to the container.
        """
        if leaving:
            systemctl("kill", "--signal", "SIGTERM", "--", unit)
        else:
            systemctl("stop", "--no-block", "--", unit)

    def ranks(self) -> list[str]:
        """Lives whose processes are on this host."""
        found = ranks.found()
        self.footprint = {life: sorted(processes) for life, processes in found.items()}
        return sorted(found)

    def kill(self, but: str = "") -> None:
        """End every rank but those of one life."""
        ranks.kill(but)

    def boot(self) -> str:
        """What tells this boot from the next."""
        return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def available_gib(self) -> float:
        """Memory that is available."""
        return memory.available_gib()

    def needs(self, fallback: int) -> list[str]:
        """What a rank would lack here now, as sentences."""
        config = self.config
        lacks = []
        address = config["hosts"][config["host"]]
        if not rank_gate.address_is_up(address):
            lacks.append(f"fabric address {address} is not up")
        if (have := self.available_gib()) < (needed := needed_to_start_gib(config, fallback)):
            lacks.append(f"{have:.1f} GiB of memory are available, a rank needs {needed:g}")
        status = docker_answers(f"/images/{config['image']}/json")
        if status != 200:
            lacks.append("Docker does not answer" if not status else f"image {config['image']} is missing")
        peers = [name for name in config["hosts"] if name != config["host"]]
        for name, there in zip(peers, self.pool.map(self._reaches, peers), strict=True):
            if not there:
                lacks.append(f"{name} cannot be reached over the fabric")
        return lacks

    def _reaches(self, name: str) -> bool:
        try:
            socket.create_connection((self.config["hosts"][name], self.config["port"]), timeout=1).close()
        except OSError:
            return False
        return True

    def evidence(self, since: float) -> dict[str, Any]:
        """What the journal, the kernel and the units say about a life that ended."""
        return gang_evidence.collect(self.config, since)


class Agent:
    """Carries out the head's orders on one host, and nobody else's."""

    def __init__(
        self,
        config: Mapping[str, Any],
        host: Any = None,
        clock: Callable[[], float] = time.monotonic,
        files: gang_kept.Files | None = None,
        run: pathlib.Path = RUN,
        *,
        tell: Callable[[str], object] | None = None,
        guard: Guard | None = None,
    ) -> None:
        self.config, self.host, self.clock = config, host or Host(config), clock
        self.tell = tell or (lambda text: print(text, flush=True))
        self.guard = guard or Guard(self.tell, clock)
        self.allegiance = Allegiance(config, clock, self.tell)
        self.nonsense = Nonsense("order", clock, self.tell)
        self.files = files or gang_kept.Files(config)
        self.state_path = run / "agent.json"
        self.lock = threading.Lock()
        self.stepping = threading.Lock()
        self.stepped = clock()
        self.key, self.order = NO_ORDER, self._own_order(kill_after=5)
        self.lease_until = clock() + config["lease_seconds"]
        self.nobodys = False
        self.restore_after = 0.0
        self.leaving = False
        self.ending_since: float | None = None
        self.asked: dict[Part, float] = {}
        self.evidence: Evidence | None = None
        self.started = self._remembered()
        if self.started.life:
            # A supervisor that was itself started anew: the life goes on if the head still says so.
            self.key, self.order = ADOPTED, self._own_order(life=self.started.life, parts=self.started.parts)
        self.acted = True
        self.footprint: object = None
        self.moved_at = self.units_asked = 0.0
        self.units: Units = {}
        self.report = self.look(self.key, self.order, self.host.ranks())

    def _own_order(self, **said: Any) -> Order:
        """What a host does where no order holds: it stops, or goes on with the life that it knows of."""
        sworn = self.allegiance.sworn
        want = "run" if "life" in said else "stop"
        return Order(cluster=sworn.cluster, head=sworn.head, want=want, **said)  # type: ignore[arg-type]

    @property
    def parts(self) -> dict[Part, str]:
        """Units by part, in the order they start."""
        units: dict[Part, str] = {"ray": self.config["ray_unit"]}
        return units | ({"engine": self.config["engine_unit"]} if self.config["engine_unit"] else {})

    def message(self, envelope: Envelope, address: str) -> tuple[int, bytes]:
        """Answer a message that came from an address, as a status and a body; raises Refused for what is no order."""
        status, answer = self.answer(Order.parse(envelope.body), address)
        return status, answer.to_bytes()

    def answer(self, order: Order, address: str) -> tuple[int, Report | Sworn]:
        """Answer an order that came from an address: with the last report, or with whom this host obeys."""
        if not self.allegiance.owed(order, address):
            return 403, self.allegiance.sworn
        return 200, self.obey(order)

    def standing(self) -> str:
        """What this host is at, in one line."""
        if not self.nobodys:
            return self.key
        head, silent = self.allegiance.sworn.head, self.clock() - self.lease_until + self.config["lease_seconds"]
        return f"nobody's: no order of {head} for {silent:.0f} s, so no rank runs here"

    def obey(self, order: Order) -> Report:
        """Take an order and answer with the last report; the lease runs from now."""
        with self.lock:
            self.key, self.order = order.key, order
            self.lease_until = self.clock() + self.config["lease_seconds"]
            # The report is as old as the last step that came to its end; that steps fail is told of them all.
            age = round(max(0, self.clock() - self.stepped), 1)
            return dataclasses.replace(self.report, age=age, faults=self.guard.faults())

    def step(self) -> None:
        """Bring the host one step closer to its order, and report."""
        with self.stepping:
            self._step()
            self.stepped = self.clock()

    def _step(self) -> None:
        with self.lock:
            key, order, leased = self.key, self.order, self.clock() < self.lease_until
        if leased == self.nobodys:
            self.nobodys = not leased
            self.tell(f"gang: {self.standing()}" if self.nobodys else f"gang: {self.allegiance.sworn} gives orders")
        if not leased and order.want == "run":
            key, order = LEASE_OVER, self._own_order(kill_after=0, fault=True)
        # A disk that is full must not keep a rank from being ended.
        self.guard.run("keeping a generation", lambda: self._mind_files(order))
        lives, self.acted = self.host.ranks(), False
        if order.want == "run":
            self._run(order, lives)
        else:
            self._stop(order, lives, list(self.parts))
        report = self.look(key, order, self.host.ranks() if self.acted else lives)
        with self.lock:
            self.report = report

    def _mind_files(self, order: Order) -> None:
        if order.keep:
            self.files.keep(order.keep)
        # Only in place of what failed: a deploy that came in between is not undone.
        failed = order.life.generation if order.life else None
        if order.restore and self.files.described() == failed and self.clock() >= self.restore_after:
            self.restore_after = self.clock() + RESTORE_AGAIN_SECONDS
            if self.files.restore(order.restore):
                systemctl("daemon-reload", seconds=90)

    def look(self, key: str, order: Order, lives: Sequence[str]) -> Report:
        """How the host stands, under the order it was brought to."""
        units = self._units(order)
        idle = not lives and all(_is_down(units.get(unit, {})) for unit in self.parts.values())
        waits = idle and order.want == "stop" and not self.nobodys
        return Report(
            key=key,
            boot=self.host.boot(),
            time=time.time(),
            described=self.files.described(),
            kept=self.files.kept(),
            kept_for=self.files.kept_for(),
            lives=tuple(clean(life, 100) for life in lives[:MOST_LIVES]),
            idle=idle,
            started=self.started,
            parts={part: self._part(part, units.get(unit, {})) for part, unit in self.parts.items()},
            available_gib=round(self.host.available_gib(), 1),
            needs=tuple(self.host.needs(order.fallback)[:MOST_NEEDS]) if waits else (),
            leaving=self.leaving,
            foreign=self.allegiance.foreign(),
            malformed=self.nonsense.heard(),
            evidence=self.evidence,
        )

    def _units(self, order: Order) -> Units:
        """States of the units; asked anew while processes of a rank come or go, else every few seconds."""
        now, footprint = self.clock(), self.host.footprint
        if footprint != self.footprint:
            self.footprint, self.moved_at = footprint, now
        steady = order.want == "run" and not self.acted and now - self.moved_at > UNITS_SECONDS
        steady = steady and all(unit.get("ActiveState") != "activating" for unit in self.units.values())
        if not steady or now - self.units_asked >= UNITS_SECONDS:
            self.units_asked = now
            self.units = self.host.units(list(self.parts.values()))
        return self.units

    def _part(self, part: Part, unit: Mapping[str, str]) -> PartState:
        """One word for a part, and how its unit ended."""
        state, job = unit.get("ActiveState", "unknown"), unit.get("Job", "0")
        died = state in ("failed", "inactive") and job in ("", "0")
        # The process is gone, and systemd waits for a completion that will not come, or for what ends the container.
        died = died or (unit.get("SubState") in AFTER_THE_PROCESS and unit.get("MainPID") == "0")
        sub = unit.get("SubState", "")
        if part not in self.started.parts:
            return PartState(state="down" if died else "up", sub=sub)
        if not died:
            return PartState(state="active" if state == "active" else "starting", sub=sub)
        at = unit.get("ExecMainExitTimestampMonotonic", "")
        ago = self.clock() - int(at) / 1e6 if at.isdigit() and int(at) else 0
        return PartState(
            state="dead", sub=sub, result=unit.get("Result", ""), code=unit.get("ExecMainCode", ""),
            status=unit.get("ExecMainStatus", ""), when=round(time.time() - ago, 2),
        )  # fmt: skip

    def _run(self, order: Order, lives: Sequence[str]) -> None:
        self.ending_since = None
        if order.life is None:  # Refused before it comes here.
            return
        if self.started.life != order.life:
            if not order.start:
                return  # It was not part of this life when it began, so it never joins it.
            self.acted = True
            if any(life != str(order.life) for life in lives):
                self.host.kill(but=str(order.life))
                return
            self.evidence = None
            self._remember(Started(life=order.life, since=time.time()))
        for part in [part for part in self.parts if part in order.parts and part not in self.started.parts]:
            if not order.start:
                continue
            # Noted before it is done: a supervisor that dies in between starts no part twice.
            self._remember(dataclasses.replace(self.started, parts=(*self.started.parts, part)))
            self.host.start(self.parts[part], order.life, f"{self.config['host']}/{part}", order.fallback)
        gone = [part for part in self.started.parts if part not in order.parts and part in self.parts]
        if gone:
            self._stop(order, lives, gone, all_ranks=False)

    def _stop(self, order: Order, lives: Sequence[str], parts: Sequence[Part], all_ranks: bool = True) -> None:
        units = self.host.units([self.parts[part] for part in parts])
        busy = [part for part in parts if not _is_down(units.get(self.parts[part], {}))]
        if self.started.life and order.fault and (self.evidence is None or self.evidence.life != self.started.life):
            self.evidence = self._witness(self.started.life)
        if not busy and not (all_ranks and lives):
            self.ending_since = None
            if all_ranks:
                self._forget()
            return
        now, self.acted = self.clock(), True
        if self.ending_since is None:
            self.ending_since, self.asked = now, {}
        for part in reversed(busy):
            if now - self.asked.get(part, -AGAIN_SECONDS) >= AGAIN_SECONDS:
                self.asked[part] = now
                self.host.stop(self.parts[part], self.leaving)
        # Left behind by a client that was killed, or by a Docker that does not answer; or what does not end as asked.
        if all_ranks and lives and (not busy or now - self.ending_since > order.kill_after):
            self.host.kill()

    def _witness(self, life: Life) -> Evidence:
        """Evidence about a life of which everything is about to be ended: what has ended now did so by itself."""
        units = self.host.units(list(self.parts.values()))
        states = {part: self._part(part, units.get(unit, {})) for part, unit in self.parts.items()}
        ended = {part: state for part, state in states.items() if state.state == "dead"}
        try:
            collected = self.host.evidence(self.started.since)
            return checked.read(Evidence, checked.plain({"life": life, "ended": ended, **collected}))
        except Exception as error:  # noqa: BLE001 - whatever the logs hold, the rank is ended
            self.guard.count("collecting evidence", error)
            return Evidence(life=life, ended=ended)

    def _remembered(self) -> Started:
        """What was started of a life; nothing where that cannot be read: then the head ends it."""
        try:
            return checked.read(Started, checked.parse(self.state_path.read_bytes(), LONGEST_STATE), newer=True)
        except FileNotFoundError:
            return Started()
        except (OSError, ValueError) as error:
            self.tell(f"gang: {self.state_path} cannot be read, so no rank here is of a known life: {error}")
            return Started()

    def _remember(self, started: Started) -> None:
        self.started = started
        try:
            self.state_path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.state_path, checked.to_bytes(started), synced=False)
        except OSError as error:
            # A supervisor that is started anew then has no rank of this life, which ends it: safe, and rare.
            self.tell(f"gang: {self.state_path} cannot be written: {error}")

    def _forget(self) -> None:
        if self.started.life:
            self._remember(Started())


def _is_down(unit: Mapping[str, str]) -> bool:
    return unit.get("ActiveState") in ("inactive", "failed") and unit.get("Job", "0") in ("", "0")

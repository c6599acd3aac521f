"""Four hosts and a head's judgement over them in one process, on a clock that only the test moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gx10_host.engine.api import Metrics, NoAnswer
from gx10_host.gang import agent as gang_agent
from gx10_host.gang import conductor as gang_conductor
from gx10_host.gang import kept as gang_kept
from gx10_host.gang import liveness as gang_liveness
from gx10_host.gang import store as gang_store
from gx10_host.wire import Life, Malformed, Order, Report, Sworn

G0, G1, G2, G3 = (digit * 16 for digit in "0123")
"""Generations."""
NAMES = ("gx10-1", "gx10-2", "gx10-3", "gx10-4")
STEP = 0.5
START_SECONDS = 5
"""How long the made engine loads."""

IDLE = {"ActiveState": "inactive", "SubState": "dead", "MainPID": "0", "Job": "0"}
RUNNING = {"ActiveState": "active", "SubState": "running", "MainPID": "7", "Job": "0"}
LOADING = {"ActiveState": "activating", "SubState": "start-post", "MainPID": "7", "Job": "0"}
DEAD = {
    "ActiveState": "failed", "SubState": "failed", "MainPID": "0", "Job": "0", "Result": "exit-code",
    "ExecMainCode": "1", "ExecMainStatus": "137",
}  # fmt: skip


class MadeHost:
    """A host without systemd, Docker or a kernel."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.unit: dict[str, dict[str, str]] = {}
        self.processes: dict[str, str] = {}
        """Life by unit."""
        self.boots = 0
        self.lacks: list[str] = []
        self.available = 111.0
        self.stubborn = False
        self.loaded_at = 0.0
        self.out_of_memory: list[str] = []
        self.kills = 0

    def units(self, names: list[str]) -> dict[str, dict[str, str]]:
        """States of units."""
        engine = self.unit.get("engine")
        whole = len(self.world.lives_of("ray")) == len(self.world.members)
        if engine is LOADING and whole and self.world.now >= self.loaded_at and self.world.loads:
            self.unit["engine"] = RUNNING
        if engine is RUNNING and not whole and not self.world.api.hangs:
            self.die("engine")
        return {name: self.unit.get(name, IDLE) for name in names}

    def start(self, unit: str, life: Life, _rank: str, fallback: int) -> None:
        """Start a unit."""
        self.world.starts.append((self.name, unit, str(life), fallback))
        self.processes[unit] = str(life)
        self.unit[unit] = LOADING if unit == "engine" else RUNNING
        self.loaded_at = self.world.now + START_SECONDS

    def stop(self, unit: str, _leaving: bool) -> None:
        """Stop a unit, unless it hangs."""
        if not self.stubborn:
            self.world.stops.append((self.name, unit))
            self.unit[unit] = IDLE
            self.processes.pop(unit, None)

    def die(self, unit: str) -> None:
        """Let a unit's process end by itself."""
        self.unit[unit] = {**DEAD, "ExecMainExitTimestampMonotonic": str(int(self.world.now * 1e6))}
        self.processes.pop(unit, None)

    @property
    def footprint(self) -> dict[str, str]:
        """What runs."""
        return dict(self.processes)

    def ranks(self) -> list[str]:
        """Lives on this host."""
        return sorted(set(self.processes.values()))

    def kill(self, but: str = "") -> None:
        """SIGKILL."""
        self.kills += 1
        for unit, life in list(self.processes.items()):
            if life != but:
                self.die(unit)

    def boot(self) -> str:
        """Boot."""
        return f"boot {self.boots}"

    def available_gib(self) -> float:
        """Memory."""
        return self.available

    def needs(self, fallback: int) -> list[str]:
        """What it lacks."""
        needed: float = gang_agent.needed_to_start_gib(self.world.settings, fallback)
        return self.lacks + [f"{self.available} GiB of memory are available"] * (self.available < needed)

    def evidence(self, _since: float) -> dict[str, Any]:
        """What is left of a life."""
        return {"kernel": [], "out_of_memory": self.out_of_memory, "logs": {}, "memory": ""}


class MadeLink:
    """A cable between the head and a host."""

    def __init__(self, world: World, name: str, agent: Any = None, source: str = "") -> None:  # noqa: ANN401
        self.world, self.name = world, name
        self.agent, self.source = agent, source or world.settings["hosts"][world.head]
        """Whom it leads to, if not to the world's own agent of that name, and from which address."""
        self.order: Order | None = None
        self.report: Report | None = None
        self.heard = world.now
        self.offset = 0.0
        self.refusal: Sworn | None = None
        self.refused = 0.0

    def ask(self) -> None:
        """Order once, if the cable is in and the host is on."""
        if self.order is None or self.name in self.world.cut | self.world.off:
            return
        order = Order.parse(self.order.to_bytes())
        status, answer = (self.agent or self.world.agents[self.name]).answer(order, self.source)
        if status == 200:
            report = Report.parse(answer.to_bytes())
            self.report, self.heard, self.refusal = report, self.world.now - report.age, None
        else:
            self.refusal, self.refused = Sworn.parse(answer.to_bytes()), self.world.now

    def nonsense(self) -> tuple[Malformed, ...]:
        """Whatever it answers is a report."""
        return ()


class MadeApi:
    """An engine's API."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.running: int | str = 0
        self.tokens = 0
        self.mute = False
        self.hangs = False
        self.refuses = ""
        self.canaries = 0

    def metrics(self) -> Metrics:
        """Counters."""
        if self.mute or not self.world.serves():
            raise NoAnswer("mute")
        told = {"num_requests_running": self.running, "num_requests_waiting": 0, "kv_cache_usage_perc": 0}
        told["iteration_tokens_total_count"] = self.tokens
        return Metrics.parse("".join(f'vllm:{name}{{engine="0"}} {value}\n' for name, value in told.items()))

    def completion(self, _prompt: str, _tokens: int, _seconds: float) -> None:
        """A canary."""
        self.canaries += 1
        if self.hangs or not self.world.serves() or self.world.cut:
            raise NoAnswer("no answer")
        self.tokens += 0 if self.refuses else 1
        if self.refuses:
            raise NoAnswer(self.refuses)


class MadeDoor:
    """A door that remembers where it stood."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def move(self, step: int) -> str:
        """Move."""
        if not self.steps or self.steps[-1] != step:
            self.steps.append(step)
        return ""


CONFIG: dict[str, Any] = {
    "cluster": "four", "head": NAMES[0], "lease_seconds": 20,
    "hosts": {name: f"10.0.0.{number}" for number, name in enumerate(NAMES, 1)},
    "silence_seconds": 6, "hook": None, "ray_unit": "ray", "start_timeout_seconds": 60, "stop_timeout_seconds": 10,
    "drain_timeout_seconds": 30, "liveness": {"canary_seconds": 10, "deadline_seconds": 10, "misses": 2},
    "budget": {"attempts": 3, "stable_seconds": 10, "daily": 100, "rollback_after": 2},
    "needed_to_start_gib": 108.5,
    "fallbacks": [
        {"name": "without MTP", "file": "", "needed_to_start_gib": 108.5},
        {"name": "four sequences", "file": "", "needed_to_start_gib": 105.5},
    ],
    "files": ["/etc/gx10/generation.env"],
}  # fmt: skip


class World:
    """Four hosts, their cables, an engine and the head's conductor."""

    def __init__(self, path: Path, **config: Any) -> None:  # noqa: ANN401
        self.path, self.now = path, 1000.0
        self.settings = {**CONFIG, **config}
        self.head, self.members = self.settings["head"], tuple(self.settings["hosts"])
        self.intruders: list[Intruder] = []
        self.loads = True
        self.cut: set[str] = set()
        self.off: set[str] = set()
        self.starts: list[tuple[str, str, str, int]] = []
        self.stops: list[tuple[str, str]] = []
        self.told: list[str] = []
        for name in self.members:
            self.describe(name, G1)
        self.hosts = {name: MadeHost(self, name) for name in self.members}
        self.agents = {name: self.agent(name) for name in self.members}
        self.api, self.door = MadeApi(self), MadeDoor()
        self.links = {name: MadeLink(self, name) for name in self.members}
        self.conductor = self.conducted()

    def describe(self, name: str, generation: str) -> None:
        """Deploy a generation's files to a host."""
        file = self.path / name / "etc/gx10/generation.env"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"GX10_GENERATION={generation}\n")

    def config(self, name: str) -> dict[str, Any]:
        """Configuration of a host's supervisor."""
        return {**self.settings, "host": name, "engine_unit": "engine" if name == self.head else None}

    def agent(self, name: str) -> Any:  # noqa: ANN401
        """A host's supervisor, started anew."""
        root = self.path / name
        files = gang_kept.Files(self.config(name), root, root / "gang/kept")
        return gang_agent.Agent(
            self.config(name), self.hosts[name], lambda: self.now, files, root / "run", tell=self.told.append
        )

    def conducted(self) -> Any:  # noqa: ANN401
        """The head's conductor, started anew."""
        config = self.config(self.head)
        self.liveness = gang_liveness.Liveness(self.api, config["liveness"], lambda: self.now, threads=False)
        self.store = gang_store.Store(config, self.path / "state", self.path / "run", self.told.append)
        clock = lambda: self.now  # noqa: E731
        return gang_conductor.Conductor(
            config, self.links, self.liveness, self.door, self.store, clock=clock, wall=clock, tell=self.told.append
        )

    def lives_of(self, unit: str) -> dict[str, str]:
        """Life of a unit's process by host, where it runs and can be reached."""
        return {
            name: host.processes[unit]
            for name, host in self.hosts.items()
            if unit in host.processes and name not in self.off
        }

    def serves(self) -> bool:
        """Whether an engine answers."""
        return self.hosts[self.head].unit.get("engine") is RUNNING and self.head not in self.off

    def wish(self, want: str, **told: Any) -> None:  # noqa: ANN401
        """Ask for something as gang_control does."""
        from gx10_host.gang import control as gang_control  # noqa: PLC0415

        gang_control.ask({"want": want, **told}, self.path / "state/wish.json")

    def pass_time(self, seconds: float) -> None:
        """Let time pass; no two lives ever have a rank at the same moment."""
        until = self.now + seconds
        while self.now < until:
            self.now += STEP
            for name, agent in self.agents.items():
                if name not in self.off:
                    agent.step()
            if self.head not in self.off:
                for link in self.links.values():
                    link.ask()
                if self.phase in ("serving", "draining"):
                    self.liveness.look()
                self.conductor.step()
            for intruder in self.intruders:
                intruder.step()
            hosts = [*self.hosts.values(), *(intruder.host for intruder in self.intruders)]
            lives = {life for host in hosts for life in host.processes.values()}
            assert len(lives) <= 1, f"ranks of {lives} at once"

    def until(self, phase: str, seconds: float = 120) -> float:
        """Let time pass until a phase is reached; returns how long that took."""
        started = self.now
        while self.phase != phase:
            assert self.now - started < seconds, f"{self.phase} {self.conductor.now.waiting} after {seconds} s"
            self.pass_time(STEP)
        return self.now - started

    @property
    def phase(self) -> str:
        """The conductor's phase."""
        phase: str = self.conductor.now.phase
        return phase

    @property
    def life(self) -> str:
        """The life that is on."""
        return str(self.conductor.now.life or "")

    def power_off(self, *names: str) -> None:
        """Cut the power."""
        for name in names:
            self.off.add(name)
            self.hosts[name].unit.clear()
            self.hosts[name].processes.clear()

    def power_on(self, *names: str) -> None:
        """Boot; what was below /run is gone."""
        for name in names:
            self.off.discard(name)
            self.hosts[name].boots += 1
            (self.path / name / "run/agent.json").unlink(missing_ok=True)
            self.agents[name] = self.agent(name)
            if name == self.head:
                (self.path / "run/gang.json").unlink(missing_ok=True)
                self.conductor = self.conducted()


class Intruder:
    """A head that was replaced while it was off, and comes back with the configuration that it had."""

    def __init__(self, world: World, name: str, hosts: dict[str, str]) -> None:
        self.world, self.path = world, world.path / f"former {name}"
        self.config = {**world.settings, "head": name, "host": name, "hosts": hosts, "engine_unit": "engine"}
        self.host = MadeHost(world, name)
        self.described(G0)
        self.agent = self.begun()
        self.links = {other: MadeLink(world, other, source=hosts[name]) for other in hosts}
        self.links[name].agent = self.agent
        self.told: list[str] = []
        self.conductor = self.conducted()
        world.intruders.append(self)

    def described(self, generation: str) -> None:
        """What its last deploy described."""
        file = self.path / "etc/gx10/generation.env"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"GX10_GENERATION={generation}\n")

    def begun(self) -> Any:  # noqa: ANN401
        """Its own part."""
        files = gang_kept.Files(self.config, self.path, self.path / "gang/kept")
        return gang_agent.Agent(
            self.config, self.host, lambda: self.world.now, files, self.path / "run", tell=lambda _: None
        )

    def conducted(self) -> Any:  # noqa: ANN401
        """Its conductor."""
        clock = lambda: self.world.now  # noqa: E731
        liveness = gang_liveness.Liveness(self.world.api, self.config["liveness"], clock, threads=False)
        store = gang_store.Store(self.config, self.path / "state", self.path / "run")
        return gang_conductor.Conductor(
            self.config, self.links, liveness, MadeDoor(), store, clock=clock, wall=clock, tell=self.told.append
        )

    def step(self) -> None:
        """What it does in a moment."""
        self.agent.step()
        for link in self.links.values():
            link.ask()
        self.conductor.step()

    @property
    def phase(self) -> str:
        """Its phase."""
        phase: str = self.conductor.now.phase
        return phase

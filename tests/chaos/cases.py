"""The faults: what is done to which host, and what must come of it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from gx10.lab.lab import Lab

from .outside import processes

HEAD, WORKER, OTHER, THIRD = "gx10-1", "gx10-3", "gx10-2", "gx10-4"
RAY, ENGINE = "gx10-ray", "gx10-engine"
EVIDENCE, HANG, SILENCE, POWER, NOTHING, EITHER = "evidence", "hang", "silence", "power", "nothing", "either"
LASTING, PLANNED = "lasting", "planned"
PROCESSES = {
    "API process": (HEAD, "vllm serve"),
    "engine core": (HEAD, "VLLM::EngineCore"),
    # Ray does not always get to write its title.
    "actor of a worker": (WORKER, "RayWorkerProc", "default_worker.py"),
    "raylet of a worker": (WORKER, "raylet/raylet"),
    "GCS": (HEAD, "gcs_server"),
}


@dataclass(frozen=True)
class Case:
    """One fault."""

    name: str
    kind: str
    """What the head has to go by: evidence of death, a hang, silence, a power cut, a fault that lasts until the budget
    of attempts is spent; an end that is planned, which cuts off no request; or nothing may come of it."""
    strike: Callable[[Lab], float | None]
    """May return when the blow fell, where it needs preparation."""
    heal: Callable[[Lab], None] = lambda lab: None
    heal_after: float = 0
    """Seconds after which the fault ends, as a cable is plugged in again. Nobody does anything else."""
    long: bool = False


def signalled(place: str, number: signal.Signals, lab: Lab) -> None:
    """Send a signal to one of the engine's or Ray's processes."""
    host, *words = PROCESSES[place]
    # The one whose command begins with it, not its init or a shell around it.
    around = ("/sbin/docker-init", "/bin/sh", "docker-init")
    there = [one for one in processes(lab) if one.host == host and not one.command.startswith(around)]
    found = [[one for one in there if word in one.command] for word in words]
    assert any(found), f"no {place} on {host}"
    min(next(filter(None, found)), key=lambda one: one.process).send(number)


def on(host: str, *words: str) -> Callable[[Lab], None]:
    """A command on a host."""

    def run(lab: Lab) -> None:
        _quietly(lab, host, *words)

    return run


def _quietly(lab: Lab, host: str, *words: str) -> str:
    return lab.run(host, *words, check=False, timeout_seconds=300).stdout


def docker_stopped(host: str) -> Case:
    """Docker is stopped for ten seconds."""
    return Case(
        f"dockerd stopped on {host}",
        EVIDENCE,
        on(host, "systemctl", "stop", "docker.socket", "docker.service"),
        on(host, "systemctl", "start", "docker.socket", "docker.service"),
        heal_after=10,
    )


def powered(name: str, off: tuple[str, ...], back: tuple[tuple[str, ...], ...]) -> Case:
    """Hosts lose power together and get it back in groups, ten seconds apart."""

    def power_on(lab: Lab) -> None:
        for index, group in enumerate(back):
            if index:
                time.sleep(10)
            lab.power_on(*group)

    return Case(name, POWER, lambda lab: lab.power_off(*off), power_on, heal_after=10)


def cut(host: str, network: str, seconds: float, kind: str) -> Case:
    """A cable is out for a while."""
    return Case(
        f"{network} of {host} cut for {seconds:g} s",
        kind,
        lambda lab: lab.cut(host, network),
        lambda lab: lab.mend(host),
        heal_after=seconds,
        long=seconds > 200,
    )


def frozen(host: str, *names: str) -> Callable[[Lab], None]:
    """Stop every process of these containers of a host, as a paused container is."""

    def freeze(lab: Lab) -> None:
        identities = [lab.run(host, "docker", "inspect", "--format", "{{.Id}}", name).stdout.strip() for name in names]
        for one in processes(lab):
            if any(identity in one.control_groups for identity in identities):
                one.send(signal.SIGSTOP)

    return freeze


def cut_off_while_the_engine_dies(lab: Lab) -> None:
    """A worker cannot hear that the life of its rank is over: it comes back as the last of an old one."""
    for network in ("fabric", "management"):
        lab.cut(WORKER, network)
    _quietly(lab, HEAD, "docker", "kill", ENGINE)


def killed_for_good(lab: Lab) -> None:
    """Whatever rank begins on a worker is killed."""
    script = f"while sleep 0.5; do docker kill {RAY}; done"
    _quietly(lab, WORKER, "systemd-run", "--quiet", "--collect", "--unit", "killer", "sh", "-c", script)


def stale_name(lab: Lab) -> float:
    """Another workload takes the name of the rank's container while the rank's own goes away."""
    image = lab.run(WORKER, "docker", "inspect", "--format", "{{.Config.Image}}", RAY).stdout.strip()
    script = f"docker rename {RAY} mine; date +%s.%N; docker kill mine >&2; "
    script += f"docker run -d --name {RAY} --entrypoint sleep {image} 3600 >&2"
    return float(_quietly(lab, WORKER, "sh", "-c", script))


def clock_off(lab: Lab) -> None:
    """A worker's supervisor lives an hour ahead. Lab hosts share one clock, so only what it is told differs."""
    ahead = "import time; real = time.time; time.time = lambda: real() + 3600"
    unit = "[Service]\\nEnvironment=PYTHONPATH=/run/ahead\\n"
    script = f"""mkdir -p /run/ahead /run/systemd/system/gx10-gang.service.d
        echo '{ahead}' > /run/ahead/sitecustomize.py
        printf '{unit}' > /run/systemd/system/gx10-gang.service.d/ahead.conf
        systemctl daemon-reload; systemctl kill -s KILL gx10-gang"""
    _quietly(lab, WORKER, "sh", "-c", script)


FULL = "fallocate --length $(df --output=avail -B1 /run | tail -1) /run/full || dd if=/dev/zero of=/run/full bs=1M"

CASES: tuple[Case, ...] = (
    *(Case(f"SIGKILL {place}", EVIDENCE, partial(signalled, place, signal.SIGKILL)) for place in PROCESSES),
    # Tokens come without GCS and raylet for as long as all ranks live, so serving on is as good as a restart.
    *(
        Case(f"SIGSTOP {place}", EITHER if "GCS" in place or "raylet" in place else HANG,
             partial(signalled, place, signal.SIGSTOP))
        for place in PROCESSES
    ),
    Case("SIGKILL Ray's container on the head", EVIDENCE, on(HEAD, "docker", "kill", RAY)),
    Case("SIGKILL Ray's container on a worker", EVIDENCE, on(WORKER, "docker", "kill", RAY)),
    Case("SIGKILL the engine's container", EVIDENCE, on(HEAD, "docker", "kill", ENGINE)),
    Case("SIGSTOP everything in a worker's container", HANG, frozen(WORKER, RAY)),
    Case("SIGSTOP everything in Ray's container on the head", HANG, frozen(HEAD, RAY)),
    Case("SIGSTOP everything in the engine's container", HANG, frozen(HEAD, ENGINE)),
    Case("SIGSTOP everything in the head's containers", HANG, frozen(HEAD, RAY, ENGINE)),
    Case("docker rm -f of Ray on the head", EVIDENCE, on(HEAD, "docker", "rm", "-f", RAY)),
    Case("docker rm -f of Ray on a worker", EVIDENCE, on(WORKER, "docker", "rm", "-f", RAY)),
    Case("docker rm -f of the engine", EVIDENCE, on(HEAD, "docker", "rm", "-f", ENGINE)),
    docker_stopped(HEAD),
    docker_stopped(WORKER),
    powered("a worker loses power", (WORKER,), ((WORKER,),)),
    powered("the head loses power", (HEAD,), ((HEAD,),)),
    powered("all lose power, back at once", (HEAD, OTHER, WORKER, THIRD), ((HEAD, OTHER, WORKER, THIRD),)),
    powered("all lose power, the head back last", (HEAD, OTHER, WORKER, THIRD), ((THIRD, WORKER), (OTHER,), (HEAD,))),
    powered("all lose power, the head back first", (HEAD, OTHER, WORKER, THIRD), ((HEAD,), (WORKER,), (OTHER, THIRD))),
    cut(WORKER, "fabric", 5, EITHER),
    cut(WORKER, "fabric", 60, SILENCE),
    cut(WORKER, "fabric", 600, SILENCE),
    cut(HEAD, "fabric", 5, EITHER),
    cut(HEAD, "fabric", 60, SILENCE),
    cut(HEAD, "fabric", 600, SILENCE),
    cut(WORKER, "management", 30, NOTHING),
    Case("a lone worker of an old life comes back", SILENCE, cut_off_while_the_engine_dies,
         lambda lab: lab.mend(WORKER), heal_after=45),
    Case(
        "a worker's clock is an hour off",
        NOTHING,
        clock_off,
        heal_after=30,
    ),
    Case("disk full under a worker's container", EITHER, on(WORKER, "sh", "-c", FULL),
         on(WORKER, "rm", "-f", "/run/full"), heal_after=60),
    Case("another workload holds the rank's name", EVIDENCE, stale_name),
    Case("the head's supervisor is killed", NOTHING, on(HEAD, "systemctl", "kill", "-s", "KILL", "gx10-gang")),
    Case("a worker's supervisor is killed", NOTHING, on(WORKER, "systemctl", "kill", "-s", "KILL", "gx10-gang")),
    Case("a worker's supervisor hangs", NOTHING, on(WORKER, "systemctl", "kill", "-s", "STOP", "gx10-gang"),
         heal_after=45),
    Case("a worker is rebooted as planned", PLANNED, on(WORKER, "systemctl", "reboot")),
    Case("a planned restart", PLANNED, on(HEAD, "systemd-run", "--quiet", "--collect",
                                          "/usr/local/bin/gx10-host", "control", "restart")),
    Case("every rank of a worker is killed", LASTING, killed_for_good, on(WORKER, "systemctl", "stop", "killer")),
)  # fmt: skip

"""Head, workers and engine as one: stopped when another generation runs, started in order, ready when tokens come."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gx10_host import ENTRY
from pyinfra import host, logger
from pyinfra.api.command import QuoteString, StringCommand

from gx10.described.containers import Described
from gx10.described.entries import File
from gx10.described.gang_files import GENERATION_FILE
from gx10.described.generation import digest
from gx10.described.host_files import running_marker
from gx10.described.units import ENGINE_CONTAINER, GENERATION_LABEL, RAY_CONTAINER
from gx10.drift.classes import Drift
from gx10.facts import DockerState, FileStates, LiveState, SystemState

from .files import put_command, told_state
from .loop.asking import ask
from .loop.commands import Command, Commands, Narrated, elsewhere, refuse
from .loop.declared import drifted, operation
from .model import stored_model

CONTROL = (ENTRY, "control")


@dataclass(frozen=True)
class Gang:
    """What the operations must know of the gang."""

    head: str
    hosts: tuple[str, ...]
    configuration: str
    """Digest of everything that configures it but the weights, which only the head knows."""
    model_directory: str
    containers: Mapping[str, Mapping[str, Described]]
    """How each container must run, by host and name."""

    def generation(self) -> str:
        """Digest of the described generation: the configuration and the weights on the head."""
        weights = stored_model(self.model_directory, on=self.head)
        return digest({"configuration": self.configuration, "weights": weights["digest"] if weights else None})


@dataclass(frozen=True)
class _Running:
    """A container of the gang that runs on a host."""

    generation: str
    """Its generation. One that carries none, or was started otherwise than described, is of none: then why."""
    fallback: str
    """Name of the fallback that it runs, if it does."""


def _running(on: str, described: Mapping[str, Described]) -> dict[str, _Running]:
    """What runs of the gang on a host, by container."""
    told = ask(DockerState, on, fresh=True, containers=[RAY_CONTAINER, ENGINE_CONTAINER])["containers"]
    running: dict[str, _Running] = {}
    for name, found in told.items():
        if found and found["running"]:
            how = described.get(name)
            deviations = list(how.deviations(found)) if how else []
            generation = "; ".join(deviations) or found["labels"].get(GENERATION_LABEL) or "no generation"
            running[name] = _Running(generation, how.fallback(found) if how else "")
    return running


@operation(drift=Drift.RESTART)
def former_head_drained(gang: Gang, unit: str, drain_seconds: int, stop_seconds: int) -> Commands:
    """Have a host that runs the engine and is not the described head end its requests and stop, by its own supervisor.

    `unit` is the engine's. Before any file of the gang changes on any host: from then on the hosts obey the described
    head, and the ranks that the former one's requests run on end with their lease.
    """
    if host.name == gang.head:
        host.noop("this host is the described head")
        return
    state = ask(SystemState, units=[unit])["units"].get(unit, {}).get("ActiveState")
    if state in (None, "inactive", "failed"):
        host.noop("no engine runs here")
        return
    if not drifted(f"{unit} on {host.name}", state, f"inactive: {gang.head} is head"):
        return
    if not host.state.is_executing:
        logger.warning(
            f"{host.print_prefix}{host.name} is head no more: its running requests end first, for up to "
            f"{drain_seconds} s, then the gang stops here and starts under {gang.head}."
        )
    yield Narrated(
        *(*CONTROL, "stop", "--drain-timeout", str(drain_seconds)),
        *("--reason", QuoteString(f"{gang.head} becomes the head"), "--seconds", str(drain_seconds + stop_seconds)),
    )


@operation(drift=Drift.GANG)
def generation_described(gang: Gang) -> Commands:
    """Write the digest of the described generation where the units read it."""
    entry = File(GENERATION_FILE, f"GX10_GENERATION={gang.generation()}\n".encode())
    found = ask(FileStates, paths=[entry.path])[entry.path]
    if not entry.differs(found) or not drifted(entry.path, told_state(found), gang.generation()):
        host.noop("the generation is as described")
        return
    yield put_command([entry])


@operation(drift=Drift.GANG)
def supervisor_current(unit: str, digest: str, live: Mapping[str, Any]) -> Commands:
    """Run the supervisor with its described program and configuration, taken up without a restart of the gang.

    Its configuration is a file of the gang, so it waits with those where the description has moved. A supervisor that
    does not run, or runs an executable that was replaced, is put right at once: nothing else watches the gang.
    """
    state = ask(SystemState, units=[unit])["units"].get(unit, {}).get("ActiveState")
    marker = running_marker(unit)
    told = (ask(FileStates, paths=[marker])[marker] or {}).get("sha256")
    wanted = hashlib.sha256(digest.encode()).hexdigest()
    runs = ask(LiveState, **live)
    deleted, former = runs["deleted"].get(unit), runs["former"].get(unit)
    if state == "active" and former:
        if drifted(unit, f"runs {former} of an earlier version", f"active, {wanted[:12]}"):
            # It would go on with its own program. One that is killed leaves its rank alone, and so does the next.
            yield Command("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "--", unit)
            yield Command("systemctl", "start", "--", unit)
        return
    if state == "active" and told == wanted and not deleted:
        host.noop(f"{unit} runs as described")
        return
    if state == "active" and not deleted:
        acts = drifted(unit, f"active, {str(told)[:12]}", f"active, {wanted[:12]}")
    else:
        found = f"runs a deleted {deleted}" if deleted else state
        acts = drifted(unit, found, f"active, {wanted[:12]}", drift=Drift.HEAL)
    if not acts:
        return
    yield Command(
        "systemctl", "reset-failed", "--", unit, "2>/dev/null", ";", "systemctl", "reload-or-restart", "--", unit
    )


@operation(
    drift=Drift.RESTART,
    goes_on="the head's supervisor goes on with it by itself: `gx10 status` shows how far it is, `gx10 stop` ends it",
)
def generation_serving(gang: Gang, unit: str, seconds: int) -> Commands:
    """Have the described generation serve: the gang is restarted, drained first, where another one runs anywhere.

    The engine's unit is active only after its first completion, so waiting for it is waiting for tokens. A gang that
    is stopped, or whose budget is spent, is started again: nobody is served who could be cut off. A fallback that
    serves is told; to take it back is its owner's to choose.
    """
    if elsewhere([gang.head]):
        return
    described = gang.generation()
    running = {name: _running(name, gang.containers.get(name, {})) for name in gang.hosts}
    older = [
        drifted(f"{container} on {name}", found.generation, described)
        for name, parts in running.items()
        for container, found in parts.items()
        if found.generation != described
    ]
    for name, parts in running.items():
        for container, found in parts.items():
            if found.fallback:
                subject = f"command of {container} on {name}"
                drifted(subject, f"fallback: {found.fallback}", "the recipe's", drift=Drift.REPORT)
    state = ask(SystemState, fresh=True, units=[unit])["units"].get(unit, {}).get("ActiveState")
    if state == "active" and not older:
        host.noop("the described generation serves")
        return
    if not (any(older) if older else drifted(unit, state, "active", drift=Drift.HEAL)):
        return
    verb = ["restart", "--reason", "another generation is described"] if older else ["start"]
    yield Narrated(*CONTROL, verb[0], *map(QuoteString, verb[1:]), "--generation", described, "--seconds", str(seconds))


@operation(drift=Drift.REPORT)
def completion_answered(unit: str, url: str, model: str, budget_gib: float | None, head: str) -> Commands:
    """Prove that the described engine serves: tokens for a prompt, and its own word on the memory budget.

    Changes nothing; fails where no token comes. In a dry run nothing is asked of an engine that does not run yet.
    """
    if elsewhere([head]):
        return
    state = ask(SystemState, fresh=True, units=[unit])["units"].get(unit, {}).get("ActiveState")
    if state != "active" and not host.state.is_executing:
        host.noop("the engine is not there to ask yet")
        return
    words = [ENTRY, "completion", "--url", url, "--model", model, "--metrics"]
    answered, output = host.run_shell_command(StringCommand(*(QuoteString(word) for word in words)))
    if not answered:
        yield from refuse(
            f"the engine at {url} gave no completion: {output.stderr or output.stdout}. "
            f"Read `journalctl -u {unit}` on this host."
        )
        return
    told: dict[str, Any] = json.loads(output.stdout)
    served = told["cache_config"].get("gpu_memory_utilization_gb")
    if budget_gib is not None and (served is None or float(served) != budget_gib):
        yield from refuse(
            f"the engine serves with a memory budget of {served} GiB, expected {budget_gib:g}. "
            "The image lacks the mod gpu-mem-util-gb, another engine answers at this port, or a fallback serves: "
            "`gx10 status` says so."
        )
        return
    host.noop(f"{model} answered {told['tokens']} tokens in {told['seconds']} s")

"""What a night uses of the world: hosts that answer, an engine that serves, checks that pass. Tests give their own."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from gx10_host import ENTRY
from gx10_host.content.manifest import MANIFEST

from gx10.access.remote import Answer, ask, parsed, run, running
from gx10.access.suspension import suspension_file
from gx10.described import gang_files, units
from gx10.described.checks import QUIET, check_words
from gx10.described.description import Description
from gx10.described.host_files import transfers_file
from gx10.described.project import applied_file
from gx10.drift.policy import Policy
from gx10.probes import probes_words
from gx10.settings.reconcile import Window

from .report import Health
from .runner import Applied, Plan

COMPLETION_SECONDS = 150
CHECK_SECONDS = 900


class Tools(Protocol):
    """What a night does to the world, and asks of it."""

    def now(self) -> datetime:
        """This moment, with a time zone."""

    def wait(self, seconds: float) -> None:
        """Let some time pass."""

    def reach(self) -> dict[str, Answer]:
        """Ask every host for its clock and whether it wants a reboot, and the head for what it keeps."""

    def transfers(self) -> dict[str, Answer]:
        """Ask every host what its last transfers came to."""

    def sampling(self, turn: int) -> AbstractContextManager[Callable[[], dict[str, Answer]]]:
        """Have every host hash its part of this turn, beside what is done meanwhile; yields what waits for them."""

    def plan(self, directory: Path, policy: Policy) -> Plan:
        """Dry run."""

    def apply(self, directory: Path, policy: Policy) -> Applied:
        """Run."""

    def health(self, *, completion: bool) -> tuple[Health, str]:
        """Whether the model is served, and the generation that serves it."""

    def idle(self) -> tuple[bool, str]:
        """Wait until no request runs or waits; whether that came true, and in words what was seen."""

    def checks(self) -> str:
        """The checks on every node: nothing when all pass, else a sentence."""


@dataclass(frozen=True)
class RealTools:
    """The cluster itself."""

    description: Description
    planner: Callable[[Path, Policy], Plan]
    applier: Callable[[Path, Policy], Applied]

    def now(self) -> datetime:
        """This moment."""
        return datetime.now(UTC)

    def wait(self, seconds: float) -> None:
        """Let some time pass."""
        time.sleep(seconds)

    def reach(self) -> dict[str, Answer]:
        """Ask every host at once."""
        cluster = self.description.cluster
        kept = {
            "suspension": suspension_file(self.description),
            "applied": applied_file(self.description)[0],
        }

        def question(host: str) -> list[str]:
            return probes_words(("reach", {"read": kept if host == cluster.head else {}}))

        return ask(self.description, question, cluster.hosts)

    def transfers(self) -> dict[str, Answer]:
        """Read them on every host at once."""
        kept = {"transfers": transfers_file(self.description.cluster)}
        return ask(self.description, lambda _: probes_words(("reach", {"read": kept})), self.description.cluster.hosts)

    @contextmanager
    def sampling(self, turn: int) -> Iterator[Callable[[], dict[str, Answer]]]:
        """Hash on every host at once; the head has the archive as well."""
        description, cluster = self.description, self.description.cluster
        weights = {"root": description.model_directory, "manifests": MANIFEST}
        archive = {"root": str(cluster.paths.archive), "manifests": "images/*.json"}

        def question(host: str) -> list[str]:
            sets = [weights, archive] if host == cluster.head else [weights]
            return probes_words(("sample", {"sets": sets, "turn": turn, "parts": cluster.models.nights}))

        with running(description, question, cluster.hosts, CHECK_SECONDS) as answers:
            yield lambda: parsed(answers())

    def plan(self, directory: Path, policy: Policy) -> Plan:
        """Dry run."""
        return self.planner(directory, policy)

    def apply(self, directory: Path, policy: Policy) -> Applied:
        """Run."""
        return self.applier(directory, policy)

    def health(self, *, completion: bool) -> tuple[Health, str]:
        """Ask the head; for its state and for tokens at once."""
        if not completion:
            return self._state()
        description, head = self.description, self.description.cluster.head
        words = [ENTRY, "completion", "--url", description.local_url, "--model", description.served_name]
        with running(description, lambda _: words, [head], COMPLETION_SECONDS) as answers:
            told, generation = self._state()
            return (_with_tokens(told, answers()[head]) if told.serving else told), generation

    def _state(self) -> tuple[Health, str]:
        description, head = self.description, self.description.cluster.head
        words = probes_words(
            ("system", {"units": [gang_files.ENGINE_UNIT]}),
            ("docker", {"containers": [units.ENGINE_CONTAINER]}),
        )
        answer = ask(description, lambda _: words, [head])[head]
        if not answer.ok:
            return Health(told=answer.reason), ""
        system, docker = answer.value
        state = system["units"][gang_files.ENGINE_UNIT]
        serving = state.get("ActiveState") == "active"
        container: dict[str, Any] = docker["containers"][units.ENGINE_CONTAINER] or {}
        generation = str((container.get("labels") or {}).get(units.GENERATION_LABEL, ""))
        return Health(serving=serving, told=f"{state.get('ActiveState')} ({state.get('SubState')})"), generation

    def idle(self) -> tuple[bool, str]:
        """Ask the engine's own gauges, on the head."""
        description, window = self.description, self.description.cluster.reconcile.window
        return idle(description, window)

    def checks(self) -> str:
        """Run `gx10 verify`'s checks."""
        project = self.description.project
        words = check_words(project, *QUIET, "-x")
        try:
            done = subprocess.run(
                words, cwd=project, capture_output=True, text=True, timeout=CHECK_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return f"the checks did not end within {CHECK_SECONDS} s"
        if done.returncode == 0:
            return ""
        lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR", "E  "))]
        return (lines or (done.stderr or done.stdout).strip().splitlines() or ["the checks failed"])[-1][:300]


def idle(description: Description, window: Window) -> tuple[bool, str]:
    """Wait until the engine is idle. This is the one place that knows how requests are drained."""
    asked = {"url": description.local_url, "idle_seconds": window.idle_seconds, "seconds": window.drain_seconds}
    answer = run(
        description, description.cluster.head, probes_words(("idle", asked)), seconds=window.drain_seconds + 60
    )
    if not answer.ok:
        return False, answer.reason
    told = json.loads(answer.value)
    if told["idle"]:
        return True, f"no request for {window.idle_seconds} s"
    if told["requests"] is None:
        return False, "the engine does not say whether requests run"
    return False, f"{told['requests']:g} requests still ran or waited after {window.drain_seconds} s"


def _with_tokens(told: Health, answer: Answer) -> Health:
    if not answer.ok:
        return told.model_copy(update={"completion": False, "told": answer.reason})
    said = json.loads(answer.value)
    return told.model_copy(
        update={
            "completion": True,
            "completion_seconds": said["seconds"],
            "told": f"{said['tokens']} tokens in {said['seconds']} s",
        }
    )

"""How far a run is, for whoever waits for it at a terminal; a log, a pipe and a timer see nothing of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from gx10.drift.policy import JOURNAL_FILE

from .report import Report


@contextmanager
def shown_on_terminal(report: Report, directory: Path, steps: Mapping[str, str]) -> Iterator[None]:
    """Show each step of a run with its seconds, and what hosts are at, until it ends; nothing without a terminal.

    `steps` says what a run does in each step.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    view = View(report, directory, steps)
    with Live(get_renderable=view.shown, console=console, redirect_stdout=False, transient=True):
        yield


@dataclass
class View:
    """A run as it stands: its report says which step it is in, the journal of that step what hosts are at."""

    report: Report
    directory: Path
    steps: Mapping[str, str]
    clock: Callable[[], float] = time.monotonic
    since: dict[object, float] = field(default_factory=dict)
    spinner: Spinner = field(default_factory=lambda: Spinner("dots"))

    def shown(self) -> Group:
        """Lines for the terminal."""
        self.spinner.update(text=Text(self.step()))
        return Group(*map(Text, self.ended()), self.spinner, *map(Text, self.at_work()))

    def ended(self) -> list[str]:
        """Steps that ended."""
        return [f"  {step.name}: {step.told or 'done'} ({step.seconds:.0f} s)" for step in self.report.steps[:-1]]

    def step(self) -> str:
        """The step under way."""
        step = self.report.steps[-1].name if self.report.steps else "lock"
        return f"{step}: {self.steps.get(step, step)}, {self._seconds((len(self.report.steps), step)):.0f} s"

    def at_work(self) -> list[str]:
        """What hosts have begun and not ended, by operation."""
        hosts: dict[str, list[str]] = {}
        journal = self._journal()
        for operation, host in self._under_way(journal):
            hosts.setdefault(operation, []).append(host)
        return [
            f"    {operation}, on {', '.join(sorted(names))}, {self._seconds((journal, operation)):.0f} s"
            for operation, names in hosts.items()
        ]

    def _journal(self) -> Path | None:
        """The journal that is written now: each of a run's deploys has one, in a directory with a number."""
        found = sorted(self.directory.glob(f"*/{JOURNAL_FILE}"), key=lambda path: path.stat().st_mtime)
        return found[-1] if found else None

    @staticmethod
    def _under_way(journal: Path | None) -> list[tuple[str, str]]:
        under_way: dict[tuple[str, str], None] = {}
        for line in journal.read_text(encoding="utf-8").splitlines() if journal else ():
            try:
                noted = json.loads(line)
            except ValueError:  # a line that is being written
                continue
            pair = (noted.get("operation", ""), noted.get("host", ""))
            if noted.get("event") == "begun":
                under_way[pair] = None
            elif noted.get("event") in ("done", "failed"):
                under_way.pop(pair, None)
        return list(under_way)

    def _seconds(self, what: object) -> float:
        return self.clock() - self.since.setdefault(what, self.clock())

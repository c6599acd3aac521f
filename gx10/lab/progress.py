"""Tells the person at the terminal, or the log, what the lab is doing to which host and for how long."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import Progress as RichProgress
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn


class Step:
    """One thing being done; `detail` says how far it is."""

    def detail(self, text: str) -> None:
        """Show a short text beside the step, such as an amount or a rate. A log leaves it out."""


class Progress:
    """Silent; the base of what writes. Use as a context manager; `step` may be called from several threads."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the display as it is."""

    @contextmanager
    def step(self, subject: str, phase: str) -> Iterator[Step]:
        """Surround one phase of one subject, a host or a part of the lab."""
        yield Step()

    def note(self, subject: str, text: str) -> None:
        """Tell something that takes no time."""


class LineProgress(Progress):
    """One line per finished phase, for logs and pipes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def step(self, subject: str, phase: str) -> Iterator[Step]:
        """Print `subject: phase (seconds)` once the phase is over."""
        began = time.monotonic()
        outcome = "failed"
        try:
            yield Step()
            outcome = "done"
        finally:
            with self._lock:
                print(f"{subject}: {phase}: {outcome} in {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)

    def note(self, subject: str, text: str) -> None:
        """Print it."""
        with self._lock:
            print(f"{subject}: {text}", file=sys.stderr, flush=True)


class _Row(Step):
    def __init__(self, display: RichProgress, row: int) -> None:
        self._display = display
        self._row = row  # rich's task id

    def detail(self, text: str) -> None:
        self._display.update(self._row, detail=text)  # type: ignore[arg-type]


class TerminalProgress(Progress):
    """A row per subject with its phase, a spinner and its seconds."""

    def __init__(self) -> None:
        self._display = RichProgress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.fields[subject]:<12}"),
            TextColumn("{task.description}"),
            TextColumn("[dim]{task.fields[detail]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        )

    def __enter__(self) -> Progress:
        self._display.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._display.stop()

    @contextmanager
    def step(self, subject: str, phase: str) -> Iterator[Step]:
        """Show the phase while it lasts; leave its row with its seconds."""
        row = self._display.add_task(phase, total=1, subject=subject, detail="")
        try:
            yield _Row(self._display, row)
        except BaseException:
            self._display.update(row, description=f"[red]{phase}: failed")
            self._display.stop_task(row)
            raise
        self._display.update(row, completed=1)

    def note(self, subject: str, text: str) -> None:
        """Print it above the rows."""
        self._display.console.print(f"{subject}: {text}")


def progress_for(stream_is_terminal: bool | None = None) -> Progress:
    """Rows on a terminal, lines elsewhere."""
    terminal = sys.stderr.isatty() if stream_is_terminal is None else stream_is_terminal
    return TerminalProgress() if terminal else LineProgress()

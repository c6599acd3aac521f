"""Ctrl-C, a closed terminal and SIGTERM: what every command does about them.

It ends at once and with 128 and the signal's number, so that whoever called it never takes it for done, and it says
what was done, what goes on without it, and what to type next.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import click

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
WORDS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "a closed terminal"}
INTERRUPTED = 128
"""Added to the signal's number, as a shell reports it."""
AGAIN_SECONDS = 1
"""A signal so soon after another is the same one: a terminal tells a whole group, and its shell tells it once more."""
CHILD_SECONDS = 15
"""How long a program that was told to end may take for its last words."""


class Interrupted(BaseException):
    """A signal asked this process to end. As KeyboardInterrupt: no handler of errors may swallow it."""

    def __init__(self, number: int, command: str = "") -> None:
        super().__init__(number)
        self.number = number
        self.command = command
        """The command of `gx10` that was at work, without `gx10`."""
        self.sentence = ""
        """What goes on and what to type next, where the command itself knows better than the general answer."""

    @property
    def status(self) -> int:
        """The exit status that says so."""
        return INTERRUPTED + self.number

    def __str__(self) -> str:
        return by(self.number)


def by(number: int) -> str:
    """The beginning of a sentence about a signal."""
    return f"Interrupted by {WORDS.get(signal.Signals(number), signal.Signals(number).name)}"


@contextmanager
def raising(*, patient: bool = False) -> Iterator[threading.Event]:
    """Have signals raise Interrupted in here, once this process's own children were told as well.

    A second one ends the process as it stands, or is not heard where what the first one began must be put in order.
    Children that are started for that are left alone once the event is set that this gives.
    """
    came: list[float] = []
    enough = threading.Event()

    def raised(number: int, _frame: FrameType | None) -> None:
        if came:
            if not patient and time.monotonic() - came[0] > AGAIN_SECONDS:
                os._exit(INTERRUPTED + number)
            return
        came.append(time.monotonic())
        threading.Thread(target=_tell_children, args=(number, enough), daemon=True).start()
        context = click.get_current_context(silent=True)
        raise Interrupted(number, context.command_path.partition(" ")[2] if context else "")

    before = {number: signal.signal(number, raised) for number in SIGNALS}
    try:
        yield enough
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell_children(number: int, enough: threading.Event) -> None:
    """Pass a signal on to each child once, also to those that another thread is only about to start."""
    told: set[int] = set()
    until = time.monotonic() + CHILD_SECONDS
    while time.monotonic() < until and not enough.is_set():
        for child in children():
            if child not in told:
                told.add(child)
                with suppress(ProcessLookupError):
                    os.kill(child, number)
        time.sleep(0.05)


def children() -> list[int]:
    """Children that a signal from the terminal reaches as well: those that have not left this process's group."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        try:
            pids = [int(word) for word in (task / "children").read_text(encoding="ascii").split()]
        except OSError:  # a thread that has just ended, or a kernel that does not tell
            continue
        found += [pid for pid in pids if _of_group(pid)]
    return found


def _of_group(pid: int) -> bool:
    try:
        return os.getpgid(pid) == os.getpgrp()
    except ProcessLookupError:
        return False


def foreground(words: Sequence[str], directory: Path, environment: Mapping[str, str] | None = None) -> int:
    """Run a program that answers to signals itself; an interrupt waits for what it has to say, then goes on."""
    with subprocess.Popen(words, cwd=directory, env=environment) as running:
        try:
            return running.wait()
        except Interrupted:
            try:
                running.wait(CHILD_SECONDS)
            except subprocess.TimeoutExpired:
                running.kill()
            raise


def tell(text: str) -> None:
    """Write to standard error, wherever that leads now; a terminal that is gone takes nothing any more."""
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)

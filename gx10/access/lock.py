"""One run at a time: a lock on this node, and one on the head that runs from other nodes see as well.

Both are held by open descriptors that every child inherits. They end when the last process that could still act on the
cluster has ended, however it ended; nothing has to be cleaned up after a crash.
"""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import select
import shlex
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from gx10.described.description import Description
from gx10.printable import printable
from gx10.probes import probe_words

from .login import ssh_arguments
from .remote import run

HELD = "GX10_LOCK_HELD"
"""Environment variable: this process is part of a run that holds the lock."""
OPERATOR = "GX10_OPERATOR"
"""Environment variable: who typed the command, where it runs as the reconciler's user for somebody else."""
ANSWER_SECONDS = 20


class LockHeldError(Exception):
    """Somebody else holds the lock; says who."""


class LockUnknownError(Exception):
    """The head could not be asked."""


def operator() -> str:
    """Who runs this."""
    return os.environ.get(OPERATOR) or getpass.getuser()


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, and why."""

    owner: str
    host: str
    pid: int
    reason: str

    @classmethod
    def me(cls, reason: str) -> Holder:
        """This process."""
        return cls(printable(operator()), socket.gethostname(), os.getpid(), printable(reason))


def said(held: dict[str, Any]) -> str:
    """A holder in words."""
    if not held:
        return "somebody who has not said who"
    since = datetime.fromtimestamp(held["since"], UTC)
    until = datetime.fromtimestamp(held["expires"], UTC)
    return printable(
        f"{held['owner']}@{held['host']}, process {held['holder_pid']}: {held['reason']}, "
        f"since {since:%Y-%m-%d %H:%M:%S} UTC, until {until:%H:%M} at the latest"
    )


@dataclass
class Keeper:
    """The process that keeps the head's lock until the last writing end of its input is closed."""

    process: subprocess.Popen[str]
    write_end: int | None

    def release(self) -> None:
        """Let go of the lock, and wait until the head knows."""
        if self.write_end is not None:
            # First: whoever watches this process must not take its end for a loss.
            end, self.write_end = self.write_end, None
            os.close(end)
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()


@dataclass(frozen=True)
class Locked:
    """Both locks, held."""

    taken_over: str
    """What was taken over from a run that died, in words."""
    descriptors: tuple[int, ...]
    """What a child that acts on the cluster must inherit: while it lives, the locks are held."""


@contextmanager
def locked(  # noqa: PLR0917 - the last two have defaults and are given by name
    description: Description,
    state: Path,
    reason: str,
    seconds: float,
    wait_seconds: float = 0,
    silence_seconds: float = 0,
) -> Iterator[Locked]:
    """Hold both locks of a cluster.

    Raises LockHeldError when somebody else has one of them after `wait_seconds`, LockUnknownError when the head cannot
    be asked for `silence_seconds`.
    """
    until = time.monotonic() + wait_seconds
    with _local(state / "lock", until) as local:
        keeper, over = hold_on_head(description, reason, seconds, until, time.monotonic() + silence_seconds)
        try:
            local.seek(0)
            local.truncate()
            local.write(json.dumps(_named(Holder.me(reason), seconds)))
            local.flush()
            write_end = keeper.write_end if keeper.write_end is not None else -1
            threading.Thread(target=_end_without, args=(keeper, description.cluster.head), daemon=True).start()
            yield Locked(over, (local.fileno(), write_end))
        finally:
            keeper.release()


LOST: list[str] = []
"""Why this process's lock is no more, where it was lost while it was held."""


def _end_without(keeper: Keeper, head: str) -> None:
    """End this process when its lock on the head ends before it is let go: another run may have begun."""
    keeper.process.wait()
    if keeper.write_end is not None:
        LOST.append(f"the lock on {head} was lost: its connection broke, or another run took it over")
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _local(path: Path, until: float) -> Iterator[IO[str]]:
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "a+", encoding="utf-8") as lock:
        os.fchmod(lock.fileno(), 0o600)
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    lock.seek(0)
                    raise LockHeldError(f"another run on this node holds the lock: {_read(lock)}") from None
                time.sleep(1)
        yield lock


def _read(lock: IO[str]) -> str:
    try:
        return said(json.loads(lock.read()))
    except (ValueError, LookupError, TypeError):
        return said({})


def _named(holder: Holder, seconds: float) -> dict[str, Any]:
    now = time.time()
    told = {"owner": holder.owner, "host": holder.host, "holder_pid": holder.pid, "reason": holder.reason}
    return {**told, "since": now, "expires": now + seconds}


def hold_on_head(
    description: Description, reason: str, seconds: float, until: float = 0, silent_until: float = 0
) -> tuple[Keeper, str]:
    """Take the head's lock; returns what keeps it, and what was taken over from a run that died, in words."""
    while True:
        try:
            keeper, told = _try_on_head(description, reason, seconds)
        except LockUnknownError:
            if time.monotonic() >= silent_until:
                raise
            time.sleep(2)
            continue
        if told["held"]:
            over = told["taken_over"]
            return keeper, f"took over the lock of {said(over['holder'] or {})}: {over['because']}" if over else ""
        keeper.release()
        if time.monotonic() >= until:
            raise LockHeldError(f"{description.cluster.head} is locked by {said(told['holder'])}")
        time.sleep(2)


def ssh_words(description: Description, command: str) -> list[str]:
    """The command that runs another on the head; a head that says nothing for long is gone, and with it the lock."""
    return [*ssh_arguments(description, description.cluster.head), command]


def _try_on_head(description: Description, reason: str, seconds: float) -> tuple[Keeper, dict[str, Any]]:
    head = description.cluster.head
    asked = {"action": "hold", "holder": _named(Holder.me(reason), seconds), "seconds": seconds}
    words = ssh_words(description, shlex.join(probe_words("lock", asked)))
    read_end, write_end = os.pipe()
    # In a session of its own: a signal to the run must not let go of the lock while the run still ends what it began.
    process = subprocess.Popen(
        words,
        stdin=read_end,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    os.close(read_end)
    keeper = Keeper(process, write_end)
    line = ""
    if process.stdout and select.select([process.stdout], [], [], ANSWER_SECONDS)[0]:
        line = process.stdout.readline()
    if not line:
        process.kill()
        told = (process.stderr.read() if process.stderr else "").strip().splitlines()
        keeper.release()
        raise LockUnknownError(f"{head} cannot be asked for its lock: {(told or ['no answer'])[-1]}")
    try:
        answer: dict[str, Any] = json.loads(line)
    except ValueError:
        process.kill()
        keeper.release()
        raise LockUnknownError(f"{head} answered {line.strip()[:80]!r} where its lock was asked for") from None
    return keeper, answer


def shown(description: Description) -> str:
    """Who holds the head's lock, in words; nothing when nobody does. Raises LockUnknownError."""
    return _asked(description, "show")["holder"]


def broken(description: Description) -> str:
    """Take the head's lock from whoever holds it; returns who that was, in words."""
    return _asked(description, "break")["broken"]


def _asked(description: Description, action: str) -> dict[str, str]:
    answer = run(description, description.cluster.head, probe_words("lock", {"action": action}))
    if not answer.ok:
        raise LockUnknownError(f"{description.cluster.head} cannot be asked for its lock: {answer.reason}")
    told: dict[str, Any] = json.loads(answer.value)
    return {key: said(held) if held is not None else "" for key, held in told.items()}

"""The lock of a cluster, on its head: argv[0] is JSON {"action", "holder", "seconds", "path"}; prints one JSON object.

`hold` takes it and keeps it for as long as standard input stays open, so that it ends with whoever holds it, however
that ends. `show` tells who holds it, `break` takes it from them. A lock whose process is gone, or whose time is over,
is nobody's.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gx10_host.write.whole import write_whole

LOCK = pathlib.Path("/run/gx10/lock")
GUARD_SECONDS = 10
TAKING_SECONDS = 10
"""How long a lock may stand without a name: its taker is about to write it."""


def started(pid: int) -> int | None:
    """When a process started, in ticks since boot; None where there is none."""
    try:
        return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def holder() -> dict[str, Any] | None:
    try:
        held: dict[str, Any] = json.loads((LOCK / "holder.json").read_text())
    except (OSError, ValueError):
        return None
    return held


def free_because() -> str:
    """Why the lock is nobody's although it stands; nothing when somebody holds it."""
    held = holder()
    if held is None:
        try:
            age = time.time() - LOCK.stat().st_mtime
        except OSError:
            return "it is gone"
        return f"it has stood without a name for {age:.0f} s" if age > TAKING_SECONDS else ""
    if held["boot"] != boot():
        return "its host was booted since"
    if started(held["pid"]) != held["process_started"]:
        return "the process that held it is gone"
    if time.time() > held["expires"]:
        return "its time is over"
    return ""


def boot() -> str:
    return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Let nobody else look at the lock and act on what was seen: what is removed is what was looked at."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    path = LOCK.with_name(f"{LOCK.name}.guard")
    # Nobody else may so much as read it: who can open a file can hold its lock.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as guard:
        os.fchmod(guard.fileno(), 0o600)
        until = time.monotonic() + GUARD_SECONDS
        while True:
            try:
                fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    sys.exit(f"{path} has been held for {GUARD_SECONDS} s: `fuser -v {path}` on this host names who")
                time.sleep(0.05)
        yield


def remove() -> None:
    """Take the lock away; whoever looks at it meanwhile sees all of it or nothing."""
    aside = LOCK.with_name(f"{LOCK.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        LOCK.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def take(who: Mapping[str, Any], seconds: float) -> tuple[bool, dict[str, Any] | None]:
    """Whether the lock was taken, and what was in the way before."""
    taken_over = None
    for _ in range(3):
        try:
            LOCK.mkdir(mode=0o700)
        except FileExistsError:
            why = free_because()
            if not why:
                return False, None
            before = holder()
            taken_over = {"holder": before, "because": why}
            end(before)
            remove()
            continue
        now = time.time()
        told = {**who, "since": now, "expires": now + seconds}
        told.update(pid=os.getpid(), process_started=started(os.getpid()), boot=boot())
        write_whole(LOCK / "holder.json", json.dumps(told).encode(), synced=False)
        return True, taken_over
    return False, None


def end(held: Mapping[str, Any] | None) -> None:
    """End the keeper of a lock that was taken away, where it still lives."""
    if held and held.get("boot") == boot() and started(held["pid"]) == held["process_started"]:
        with contextlib.suppress(OSError):
            os.kill(held["pid"], signal.SIGTERM)


def tell(value: object) -> None:
    print(json.dumps(value), flush=True)


def main(argv: Sequence[str]) -> int:
    global LOCK  # noqa: PLW0603 - chosen once, before anything is looked at
    asked = json.loads(argv[0])
    LOCK = pathlib.Path(asked.get("path", LOCK))

    if asked["action"] == "show":
        tell({"holder": None if not LOCK.exists() or free_because() else holder() or {}})
    elif asked["action"] == "break":
        with alone():
            held = holder()
            end(held)
            remove()
        tell({"broken": held})
    else:
        with alone():
            taken, over = take(asked["holder"], asked["seconds"])
        tell({"held": taken, "holder": holder() or {}, "taken_over": over})
        if taken:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            try:
                # Until the last process that can act has let go of the other end.
                while os.read(0, 4096):
                    pass
            finally:
                with alone():
                    mine = holder()
                    if mine and mine["pid"] == os.getpid():
                        remove()
    return 0

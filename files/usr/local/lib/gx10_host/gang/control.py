"""Asks the head's supervisor to start, stop or restart the gang, and tells what it is at until that is done.

    gx10-host control start [--full] | stop | restart [--drain-timeout S] [--reason TEXT] [--generation G] [--seconds S]

The wish is a file that the supervisor reads: it holds over restarts of everything. With --generation, success is only
that this generation serves. Exit status:

    0    what was asked for has come about
    2    it came out otherwise: the budget is spent, another generation was put back, the other hosts obey another head
    3    it has not come about within --seconds; the supervisor goes on
    130  this command was interrupted; the supervisor goes on
"""

from __future__ import annotations

import argparse
import pathlib
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from typing import Any

from gx10_host import checked
from gx10_host.checked import clean
from gx10_host.exits import INTERRUPTED, LATE, OTHERWISE
from gx10_host.gang import UNIT
from gx10_host.wire import FOREVER_SECONDS, Life
from gx10_host.write.whole import write_whole

from .state import Wish
from .store import LONGEST

WISH = pathlib.Path("/var/lib/gx10/gang/wish.json")
PICTURE = pathlib.Path("/run/gx10/gang.json")
TELL_SECONDS = 10
STALE_SECONDS = 45


def picture(path: pathlib.Path = PICTURE) -> dict[str, Any] | None:
    """What the supervisor last wrote down; nothing while it does not run."""
    try:
        if time.time() - path.stat().st_mtime > STALE_SECONDS:
            return None
        with path.open("rb") as file:
            shown: dict[str, Any] = checked.parse(file.read(LONGEST + 1), LONGEST)["picture"]
        # One that cannot be told is as none: something else has written there.
        sentence(shown), subject(shown), done("start", shown, "")
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return shown


def ask(wish: Mapping[str, Any], path: pathlib.Path = WISH) -> str:
    """Leave a wish; returns its name. Raises Refused where the supervisor would not read it."""
    name = uuid.uuid4().hex
    left = checked.read(Wish, {**wish, "id": name})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, checked.to_bytes(left))
    return name


def done(want: str, now: Mapping[str, Any], generation: str) -> tuple[bool, str]:
    """Whether what was asked for has come about; a sentence where it will not."""
    if want == "stop":
        return now["phase"] in ("stopped", "deposed"), ""
    if now["phase"] == "deposed":
        return False, f"this host stands down: {now['reason']}"
    serves = str(Life.parse(now["life"]).generation) if now["life"] else ""
    if now["phase"] == "serving" and generation and serves != generation:
        put_back = now.get("rolled_back")
        if put_back and put_back["from"] == generation:
            return False, f"generation {generation} did not start, and {serves} was put back: {put_back['reason']}"
        return False, ""
    if now["phase"] == "failed":
        return False, f"the budget is spent: {now.get('spent') or now.get('reason')}"
    return now["phase"] == "serving", ""


def sentence(now: Mapping[str, Any]) -> str:
    """What the gang is at, in one line."""
    words = f"{now['phase']} {now['life']}".strip()
    if now["phase"] in ("gathering", "starting") and now["failures"]:
        words += f", attempt {now['failures'] + 1} of {now['attempts']} (the last: {now.get('failed_for') or 'failed'})"
    if now["phase"] in ("draining", "ending") and now.get("reason"):
        words += f" ({now['reason']})"
    if now["phase"] == "starting":
        words += f", for {max(0, time.time() - now['since']):.0f} s"
        words += f"; the last start took {now['started_in']} s" if now.get("started_in") else ""
    return words + (f": {'; '.join(now['waiting'])}" if now["waiting"] else "")


def subject(now: Mapping[str, Any]) -> tuple[Any, ...]:
    """What must change for a new line to be due at once: not the seconds."""
    return now["phase"], now["life"], now["failures"], tuple(now["waiting"])


def tell(text: str) -> None:
    """Say one line to whoever waits."""
    print(clean(f"gang: {text}", LONGEST), flush=True)


def follow(arguments: argparse.Namespace, name: str) -> int:
    """Tell what the gang is at until the wish has come about; returns the exit status."""
    started = told_at = time.monotonic()
    last, conclusion = None, ""
    while True:
        now, moment = picture(), time.monotonic()
        waited = f"{moment - started:.0f} s"
        taken = now if now is not None and now["handled"] == name else None
        if taken and taken.get("conclusion") and taken["conclusion"] != conclusion:
            conclusion = taken["conclusion"]
            tell(f"{waited}, {conclusion}")
        if taken:
            came, why_not = done(arguments.want, taken, arguments.generation)
            if came:
                tell(f"{sentence(taken)} after {waited}")
                return 0
            if why_not:
                print(clean(f"gang: {why_not}. `gx10 why` says more.", LONGEST), file=sys.stderr, flush=True)
                return OTHERWISE
        says = sentence(now) if now else f"{UNIT} does not answer yet"
        if moment - started > arguments.seconds:
            says = clean(says, LONGEST)
            print(f"gang: still {says} after {waited}. `gx10 why` says more.", file=sys.stderr, flush=True)
            return LATE
        concerns = subject(now) if now else None
        if concerns != last or moment - told_at >= TELL_SECONDS:
            last, told_at = concerns, moment
            tell(f"{waited}, {says}")
        time.sleep(0.5)


def seconds(text: str) -> float:
    """A time that a wish may name; argparse makes a sentence of anything else."""
    value = float(text)
    if not 0 <= value <= FOREVER_SECONDS:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds from 0 to {FOREVER_SECONDS}")
    return value


def main(argv: list[str]) -> int | None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("want", choices=("start", "stop", "restart"))
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--drain-timeout", type=seconds)
    parser.add_argument("--reason", default="")
    parser.add_argument("--generation", default="")
    parser.add_argument("--seconds", type=seconds, default=3600)
    arguments = parser.parse_args(argv)
    if subprocess.run(["systemctl", "is-active", "--quiet", UNIT], check=False).returncode:
        subprocess.run(["systemctl", "start", "--", UNIT], check=False)
    wish = {"want": arguments.want, "full": arguments.full, "reason": arguments.reason}
    wish["drain_seconds"] = arguments.drain_timeout
    name = ask(wish)
    try:
        sys.exit(follow(arguments, name))
    except KeyboardInterrupt:
        print(f"gang: interrupted; {UNIT} goes on with `{arguments.want}`.", file=sys.stderr, flush=True)
        sys.exit(INTERRUPTED)

#!/usr/bin/python3 -BI
"""Asks the head's supervisor to start, stop or restart the gang, and tells what it is at until that is done.

    gang_control.py start [--full] | stop | restart  [--drain-timeout S] [--reason TEXT] [--generation G] [--seconds S]

The wish is a file that the supervisor reads: it holds over restarts of everything. With --generation, success is only
that this generation serves.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import subprocess
import sys
import time
import uuid

WISH = pathlib.Path("/var/lib/gx10/gang/wish.json")
PICTURE = pathlib.Path("/run/gx10/gang.json")
UNIT = "gx10-gang.service"
TELL_SECONDS = 10
STALE_SECONDS = 45


def picture(path=PICTURE):
    """What the supervisor last wrote down; nothing while it does not run."""
    try:
        if time.time() - path.stat().st_mtime > STALE_SECONDS:
            return None
        return json.loads(path.read_text())["picture"]
    except (OSError, ValueError, LookupError):
        return None


def ask(wish, path=WISH):
    """Leave a wish; returns its name."""
    wish = {**wish, "id": uuid.uuid4().hex}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name("wish.new")
    partial.write_text(json.dumps(wish))
    partial.replace(path)
    return wish["id"]


def done(want, now, generation):
    """Whether what was asked for has come about; a sentence where it will not."""
    if want == "stop":
        return now["phase"] == "stopped", ""
    serves = now["life"].rpartition(".")[0]
    if now["phase"] == "serving" and generation and serves != generation:
        put_back = now.get("rolled_back")
        if put_back and put_back["from"] == generation:
            return False, f"generation {generation} did not start, and {serves} was put back: {put_back['reason']}"
        return False, ""
    if now["phase"] == "failed":
        return False, f"the budget is spent: {now.get('spent') or now.get('reason')}"
    return now["phase"] == "serving", ""


def sentence(now):
    """What the gang is at, in one line."""
    waiting = "; ".join(now["waiting"])
    return f"{now['phase']} {now['life']}".strip() + (f": {waiting}" if waiting else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("want", choices=("start", "stop", "restart"))
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--drain-timeout", type=float)
    parser.add_argument("--reason", default="")
    parser.add_argument("--generation", default="")
    parser.add_argument("--seconds", type=float, default=3600)
    arguments = parser.parse_args()
    if subprocess.run(["systemctl", "is-active", "--quiet", UNIT], check=False).returncode:
        subprocess.run(["systemctl", "start", "--", UNIT], check=False)
    wish = {"want": arguments.want, "full": arguments.full, "reason": arguments.reason}
    wish["drain_seconds"] = arguments.drain_timeout
    name = ask(wish)
    started = told_at = time.monotonic()
    told = ""
    while True:
        now, moment = picture(), time.monotonic()
        taken = now is not None and now["handled"] == name
        if taken:
            came, why_not = done(arguments.want, now, arguments.generation)
            if came:
                print(f"gang: {sentence(now)} after {moment - started:.0f} s", flush=True)
                return
            if why_not:
                sys.exit(f"gang: {why_not}. `gx10 why` says more.")
        says = sentence(now) if now else f"{UNIT} does not answer yet"
        if moment - started > arguments.seconds:
            sys.exit(f"gang: still {says} after {moment - started:.0f} s. `gx10 why` says more.")
        if says != told or moment - told_at >= TELL_SECONDS:
            told, told_at = says, moment
            print(f"gang: {moment - started:.0f} s, {says}", flush=True)
        time.sleep(0.5)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Starts a unit and waits until it is active, telling what it is at.

await_unit.py UNIT --seconds S
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

PROPERTIES = "LoadState,ActiveState,SubState,NRestarts,Result,Job"
TELL_SECONDS = 10
SETTLED = 3
"""How often in a row a unit must look dead: between two starts it does for a moment."""


def asked(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(argv)}: {done.stderr.strip() or f'status {done.returncode}'}")
    return done.stdout


def show(unit):
    told = asked("systemctl", "show", "--property", PROPERTIES, "--", unit)
    return dict(line.split("=", 1) for line in told.splitlines() if "=" in line)


def last_line(unit):
    told = subprocess.run(
        ["journalctl", "--unit", unit, "--lines", "1", "--output", "cat", "--no-pager"],
        capture_output=True, text=True, errors="replace", timeout=60, check=False,
    ).stdout  # fmt: skip
    return told.strip()[:160] or "nothing"


def dead(state):
    """Whether nothing will bring the unit up: it failed, or stands still with no job queued, as after a failed need."""
    return state["ActiveState"] == "failed" or (state["ActiveState"] == "inactive" and not state.get("Job"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("unit")
    parser.add_argument("--seconds", type=float, required=True)
    arguments = parser.parse_args()
    unit = arguments.unit
    subprocess.run(["systemctl", "reset-failed", "--", unit], capture_output=True, check=False)
    asked("systemctl", "start", "--no-block", "--", unit)
    started = told = time.monotonic()
    looks_dead = 0
    while True:
        state, now = show(unit), time.monotonic()
        if state["ActiveState"] == "active":
            print(f"{unit} is active after {now - started:.0f} s", flush=True)
            return
        looks_dead = looks_dead + 1 if dead(state) else 0
        if looks_dead == SETTLED or now - started > arguments.seconds:
            sys.exit(
                f"{unit} is {state['ActiveState']} ({state['SubState']}, {state['Result']}) after "
                f"{now - started:.0f} s and {state.get('NRestarts', '0')} restarts; its last line: {last_line(unit)}. "
                f"Read `journalctl --unit {unit}` on this host."
            )
        if now - told >= TELL_SECONDS:
            told = now
            print(f"{unit}: {now - started:.0f} s, {state['SubState']}: {last_line(unit)}", flush=True)
        time.sleep(0.5)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Starts a unit and waits until it is active, telling what it is at.

await_unit.py UNIT --seconds S
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time


def show(unit):
    told = subprocess.run(
        ["systemctl", "show", "--property", "ActiveState,SubState,NRestarts,Result", "--", unit],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return dict(line.split("=", 1) for line in told.splitlines())


def last_line(unit):
    told = subprocess.run(
        ["journalctl", "--unit", unit, "--lines", "1", "--output", "cat", "--no-pager"],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    return told.strip()[:160]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("unit")
    parser.add_argument("--seconds", type=float, required=True)
    arguments = parser.parse_args()
    unit = arguments.unit
    subprocess.run(["systemctl", "reset-failed", "--", unit], capture_output=True, check=False)
    subprocess.run(["systemctl", "start", "--no-block", "--", unit], check=True)
    started = told = time.monotonic()
    while True:
        state, now = show(unit), time.monotonic()
        if state["ActiveState"] == "active":
            print(f"{unit} is active after {now - started:.0f} s", flush=True)
            return
        if state["ActiveState"] == "failed" or now - started > arguments.seconds:
            sys.exit(
                f"{unit} is {state['ActiveState']} ({state['SubState']}, {state['Result']}) after "
                f"{now - started:.0f} s and {state['NRestarts']} restarts; its last line: {last_line(unit)}"
            )
        if now - told >= 10:
            told = now
            print(f"{unit}: {now - started:.0f} s, {state['SubState']}: {last_line(unit)}", flush=True)
        time.sleep(0.5)


if __name__ == "__main__":
    main()

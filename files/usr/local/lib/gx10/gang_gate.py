#!/usr/bin/env python3
"""Waits until Ray's GPU total is exactly what the recipe needs, with none in use.

Ray's list of nodes still names dead ones for minutes, its resource total does not; and a host that joined twice
shows as one GPU too many. So the total must be exact.

    gang_gate.py --container NAME --gpus N --seconds S
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time

GPUS = re.compile(r"^\s*([\d.]+)/([\d.]+) GPU", re.MULTILINE)


def used_and_total(container):
    """GPUs in use and in total, as `ray status` in the head's container tells them; None while it does not answer."""
    try:
        done = subprocess.run(
            ["docker", "exec", container, "ray", "status"], capture_output=True, text=True, timeout=30, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    found = GPUS.search(done.stdout)
    return (float(found[1]), float(found[2])) if found else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--container", required=True)
    parser.add_argument("--gpus", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    arguments = parser.parse_args()
    until, told = time.monotonic() + arguments.seconds, ""
    while (seen := used_and_total(arguments.container)) != (0, arguments.gpus):
        state = "Ray does not answer" if seen is None else f"Ray has {seen[0]:g} of {seen[1]:g} GPUs in use"
        if time.monotonic() > until:
            sys.exit(f"gang gate: gave up after {arguments.seconds:.0f} s: {state}, expected 0 of {arguments.gpus:g}.")
        if state != told:
            print(f"gang gate: waiting for 0 of {arguments.gpus:g} GPUs in use: {state}", flush=True)
            told = state
        time.sleep(1)


if __name__ == "__main__":
    main()

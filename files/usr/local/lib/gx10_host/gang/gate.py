"""Waits until Ray's GPU total is exactly what the recipe needs, with none in use.

Ray's list of nodes still names dead ones for minutes, its resource total does not; and a host that joined twice
shows as one GPU too many. So the total must be exact.

    gx10-host engine-gate --container NAME --gpus N --seconds S
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time

GPUS = re.compile(r"^\s*([\d.]+)/([\d.]+) GPU\b", re.MULTILINE)
ONE_ANSWER_SECONDS = 30


def state_of(container: str, seconds: float) -> tuple[tuple[float, float] | None, str]:
    """GPUs in use and in total as `ray status` in the head's container tells them, or why it tells nothing."""
    try:
        done = subprocess.run(
            ["docker", "exec", container, "ray", "status"],
            capture_output=True, text=True, errors="replace", timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None, f"no answer within {seconds:.0f} s"
    except OSError as error:
        return None, f"docker does not run: {error}"
    if found := GPUS.search(done.stdout):
        return (float(found[1]), float(found[2])), ""
    lines = (done.stderr.strip() or done.stdout.strip() or "no GPU in its answer").splitlines()
    return None, lines[-1][:160]


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--container", required=True)
    parser.add_argument("--gpus", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    arguments = parser.parse_args(argv)
    until, told = time.monotonic() + arguments.seconds, ""
    while True:
        left = max(1, min(ONE_ANSWER_SECONDS, until - time.monotonic()))
        seen, reason = state_of(arguments.container, left)
        if seen == (0, arguments.gpus):
            return
        state = f"Ray has {seen[0]:g} of {seen[1]:g} GPUs in use" if seen else f"Ray does not answer ({reason})"
        if time.monotonic() >= until:
            sys.exit(
                f"gang gate: gave up after {arguments.seconds:.0f} s: {state}, expected 0 of {arguments.gpus:g}. "
                "Look at the Ray units of all hosts: one is missing, joined twice, or still holds an older engine."
            )
        if state != told:
            print(f"gang gate: waiting for 0 of {arguments.gpus:g} GPUs in use: {state}", flush=True)
            told = state
        time.sleep(max(0, min(1, until - time.monotonic())))

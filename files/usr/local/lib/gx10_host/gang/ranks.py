"""Finds and ends the ranks on this host, whether Docker answers or not.

    gx10-host ranks list
    gx10-host ranks end --container NAME

Every process of the gang's containers begins with GX10_RANK_OF=GENERATION.LIFE in its environment. The kernel's own
list of processes is therefore the evidence for "gone": a Docker that is stopped, or whose client was killed, cannot say
so. vLLM's engine core writes its title over its environment; it is found by its container's init, without which the
kernel lets nothing of the container live.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

MARK = b"GX10_RANK_OF="
GONE_SECONDS = 20


def found() -> dict[str, list[int]]:
    """Process ids by the life they belong to."""
    lives: dict[str, list[int]] = {}
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
        except OSError:  # It ended meanwhile.
            continue
        for word in environment.split(b"\0"):
            # An empty mark names no life: whoever set it has no rank, and nothing could end it by its life's name.
            if word.startswith(MARK) and word != MARK:
                lives.setdefault(word[len(MARK) :].decode(errors="replace"), []).append(int(process.name))
    return lives


def kill(but: str = "") -> None:
    """End every rank but those of one life, at once; what hangs in the kernel stays, and is found again."""
    for life, processes in found().items():
        for process in processes if life != but else ():
            try:
                os.kill(process, signal.SIGKILL)
            except OSError:
                continue


def remove(container: str) -> bool:
    """Remove a container by label, whatever its name, and a foreign one that holds the name; True when none is left."""
    try:
        told = _docker("ps", "--all", "--quiet", "--filter", f"label=gx10.container={container}")
        if told.returncode:
            return False
        done = _docker("rm", "--force", container, *told.stdout.split())
    except (OSError, subprocess.TimeoutExpired):
        return False
    return all("No such container" in line for line in done.stderr.splitlines())


def _docker(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *words], capture_output=True, text=True, timeout=30, check=False)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("list", "end"))
    parser.add_argument("--container", default="")
    arguments = parser.parse_args(argv)
    if arguments.what == "end":
        until = time.monotonic() + GONE_SECONDS
        while not remove(arguments.container) and time.monotonic() < until:
            time.sleep(1)
        return
    json.dump(found(), sys.stdout)
    print()

#!/usr/bin/env python3
"""Waits until this host can carry a rank: its fabric address is up, memory is free, and a worker's head answers.

rank_gate.py --address A --memory-gib N --seconds S [--head ADDRESS:PORT] [--drop-page-cache]
"""

from __future__ import annotations

import argparse
import os
import pathlib
import socket
import sys
import time


def address_is_up(address):
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def available_gib():
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 2**20
    raise SystemExit("rank gate: /proc/meminfo has no MemAvailable; this kernel is too old for this check.")


def answers(address):
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except OSError:
        return False
    return True


def missing(arguments):
    """The first thing that is not ready yet, as a sentence; nothing when all is."""
    if not address_is_up(arguments.address):
        return f"fabric address {arguments.address} is not up: is the cable in and the link configured?"
    if (have := available_gib()) < arguments.memory_gib:
        needs = f"a rank needs {arguments.memory_gib:g}: an older rank still holds it"
        return f"{have:.1f} GiB of memory are available, {needs}."
    if arguments.head and not answers(arguments.head):
        return f"the Ray head does not answer at {arguments.head}: ray-head.service there is not up yet."
    return ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", required=True)
    parser.add_argument("--memory-gib", type=float, default=0)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--head", default="")
    parser.add_argument("--drop-page-cache", action="store_true")
    arguments = parser.parse_args()
    if arguments.drop_page_cache:
        # On unified memory the page cache competes with the model for the same 111 GiB.
        os.sync()
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3\n")
    until, told = time.monotonic() + arguments.seconds, ""
    while reason := missing(arguments):
        if time.monotonic() > until:
            sys.exit(f"rank gate: gave up after {arguments.seconds:.0f} s: {reason}")
        if reason != told:
            print(f"rank gate: waiting: {reason}", flush=True)
            told = reason
        time.sleep(1)


if __name__ == "__main__":
    main()

"""Waits until this host can carry a rank: its fabric address is up, memory is free, and a worker's head answers.

rank_gate.py --address A --needed-to-start-gib N --seconds S [--head ADDRESS:PORT] [--drop-page-cache]
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

from gx10_host import memory

DOWN = ("down", "lowerlayerdown", "notpresent")


def address_is_up(address: str) -> bool:
    """Whether the address is this host's and its link has a carrier: without a cable an address stays configured."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return link_state(address) not in DOWN


def link_state(address: str) -> str:
    """The operational state of the link that has an address, as the kernel tells it; "" where none is found."""
    try:
        done = subprocess.run(
            ["ip", "-json", "address", "show", "to", address], capture_output=True, text=True, timeout=10, check=False
        )
        names = [link["ifname"] for link in json.loads(done.stdout or "[]") if link.get("ifname")]
        return pathlib.Path("/sys/class/net", names[0], "operstate").read_text().strip() if names else ""
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return ""


def answers(address: str) -> bool:
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
    except OSError:
        return False
    return True


def missing(arguments: argparse.Namespace) -> str:
    """The first thing that is not ready yet, as a sentence; nothing when all is."""
    if not address_is_up(arguments.address):
        return f"fabric address {arguments.address} is not up: is the cable in and the link configured?"
    if (have := memory.available_gib()) < arguments.needed_to_start_gib:
        needs = f"a rank needs {arguments.needed_to_start_gib:g}: an older rank still holds it"
        return f"{have:.1f} GiB of memory are available, {needs}."
    if arguments.head and not answers(arguments.head):
        return f"the Ray head does not answer at {arguments.head}: ray-head.service there is not up yet."
    return ""


def drop_page_cache() -> None:
    """On unified memory the page cache competes with the model for the same 111 GiB."""
    os.sync()
    try:
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3\n")
    except OSError as error:  # Whether enough memory is free is asked next; that decides, not this.
        print(f"rank gate: the page cache stays, /proc/sys/vm/drop_caches cannot be written: {error}", flush=True)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", required=True)
    parser.add_argument("--needed-to-start-gib", type=float, default=0)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--head", default="")
    parser.add_argument("--drop-page-cache", action="store_true")
    arguments = parser.parse_args(argv)
    if arguments.drop_page_cache:
        drop_page_cache()
    until, told = time.monotonic() + arguments.seconds, ""
    while reason := missing(arguments):
        if time.monotonic() > until:
            sys.exit(f"rank gate: gave up after {arguments.seconds:.0f} s: {reason}")
        if reason != told:
            print(f"rank gate: waiting: {reason}", flush=True)
            told = reason
        time.sleep(0.5)

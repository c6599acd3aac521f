"""What keeps a host from being deployed to, as sentences; judged from one fact before anything is changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gx10.settings import Cluster

COMMANDS = ("docker", "systemctl", "python3")
GIB = 2**30
MIN_PYTHON = (3, 11)
MAX_CLOCK_SECONDS = 120
"""Clocks further apart than this break TLS, tokens and the order of logs."""


def unfit(offer: dict[str, Any], cluster: Cluster, host: str, now: float, needed_to_start_gib: float) -> Iterator[str]:
    """Reasons why a host, offering this, cannot be deployed to. `now` is the control node's clock."""
    policy = cluster.host
    if not offer["root"]:
        yield f"logged in as {cluster.access.user}, who is not root. Set access.user to root or to a user with uid 0."
    if offer["architecture"] != policy.architecture:
        yield (
            f"is {offer['architecture']}, expected {policy.architecture}. Correct host.architecture in the cluster "
            "file, or the host's address."
        )
    if tuple(offer["python"]) < MIN_PYTHON:
        yield f"has Python {'.'.join(map(str, offer['python']))}, needs 3.11 or newer. Upgrade to DGX OS 7."
    for command, present in offer["commands"].items():
        if not present:
            yield f"has no command {command}. Install it; DGX OS brings it."
    yield from _docker_faults(offer["docker"], cluster)
    yield from _address_faults(offer["addresses"], cluster, host)
    if offer["memory_total_gib"] < needed_to_start_gib:
        yield (
            f"has {offer['memory_total_gib']:.1f} GiB of memory in all, and a rank starts with {needed_to_start_gib:g} "
            "available: the engine's budget and its margin, or host.needed_to_start_gib. Lower the recipe's budget."
        )
    for path, free in offer["free"].items():
        if free < policy.min_free_gib * GIB:
            yield (
                f"has {free / GIB:.1f} GiB free in {path}, {policy.min_free_gib:g} GiB must stay free "
                f"(host.min_free_gib). Remove {policy.min_free_gib - free / GIB:.1f} GiB there."
            )
    if abs(offer["clock"] - now) > MAX_CLOCK_SECONDS:
        yield f"has a clock {offer['clock'] - now:+.0f} s off this node's. Set it, and enable systemd-timesyncd."


def _docker_faults(docker: dict[str, Any], cluster: Cluster) -> Iterator[str]:
    if not docker["ok"]:
        yield f"Docker does not answer: {docker['error']}. Start it with `systemctl start docker` and run again."
    elif cluster.container.runtime and cluster.container.runtime not in docker["runtimes"]:
        yield (
            f"Docker has no runtime {cluster.container.runtime} (it has {', '.join(docker['runtimes'])}). "
            "Run `nvidia-ctk runtime configure --runtime=docker`, then `systemctl restart docker`."
        )


def _address_faults(addresses: dict[str, list[str]], cluster: Cluster, host: str) -> Iterator[str]:
    for rail, address in zip(cluster.networks.fabric, cluster.hosts[host].fabric, strict=True):
        there = addresses.get(rail.interface)
        if there is None:
            yield (
                f"has no interface {rail.interface}. Is the fabric cable in? Correct networks.fabric in the cluster "
                f"file to one of: {', '.join(sorted(addresses))}."
            )
        elif str(address) not in there:
            yield (
                f"has {', '.join(there) or 'no address'} on {rail.interface}, expected {address}. Set the address with "
                "netplan, or correct it in the cluster file."
            )

"""The engine's memory: the budget that a command gives it on a host, and what a host must have before it starts."""

from __future__ import annotations

from dataclasses import dataclass

from gx10.settings import Cluster
from gx10.settings.cluster import Host
from gx10.settings.recipe import Limits

from .vllm.flags import Command

#: What vLLM 0.22.1 takes where no flag sets a budget.
DEFAULT_MEMORY_FRACTION = 0.92
GIB = 2**30


@dataclass(frozen=True)
class Budget:
    """What the engine may use on one host, its weights, its KV cache and its activations together."""

    dest: str
    """The flag that sets it, or would."""
    gib: float
    origin: str
    """How it comes about, as the beginning of a sentence; nothing where the flag gives it in GiB."""


def budget(command: Command, host: Host) -> Budget | None:
    """The budget on a host; none where the flag has no value that can be read.

    Of `--kv-cache-memory-bytes` only its own size is known: what the weights take beside it, vLLM finds out.
    """
    if size := command.value("kv_cache_memory_bytes"):
        return Budget("kv_cache_memory_bytes", round(size / GIB, 2), "the KV cache alone, ")
    if gib := command.value("gpu_memory_utilization_gb"):
        return Budget("gpu_memory_utilization_gb", float(gib), "")
    if "kv_cache_memory_bytes" in command or "gpu_memory_utilization_gb" in command:
        return None
    fraction, total = command.value("gpu_memory_utilization", DEFAULT_MEMORY_FRACTION), host.total_memory_gib
    default = "" if "gpu_memory_utilization" in command else "vLLM's default, "
    origin = f"{default}{fraction:g} of {total:g} GiB, is a budget of which "
    # To a hundredth: the total is a measurement.
    return Budget("gpu_memory_utilization", round(fraction * total, 2), origin)


def budget_and_margin_gib(command: Command, limits: Limits, host: Host) -> float:
    """What must be available on a host for the engine to take its budget: with less it refuses to start."""
    given = budget(command, host)
    return 0.0 if given is None else round(given.gib + limits.budget_margin_gib.value, 2)


def needed_to_start_gib(command: Command, limits: Limits, cluster: Cluster, host: str) -> float:
    """MemAvailable that a host must have before a rank starts there: the owner's figure, else budget and margin.

    A GPU with memory of its own takes its budget from there, of which MemAvailable says nothing.
    """
    if cluster.host.needed_to_start_gib is not None:
        return cluster.host.needed_to_start_gib
    return budget_and_margin_gib(command, limits, cluster.hosts[host]) if cluster.host.unified_memory else 0.0

"""Guards of the validated ceilings: each variant of a model has its own, with the pitfall each comes from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gx10.settings import Cluster, Problem
from gx10.settings.recipe import Limit

from .subject import Served

#: What vLLM 0.22.1 takes for an API server on a GPU of 70 GiB or more where the flag is left out.
DEFAULT_SEQUENCES = 1024
DEFAULT_BATCHED_TOKENS = 8192
DEFAULT_MEMORY_FRACTION = 0.92
GIB = 2**30

#: Flags whose value is above zero, which vLLM checks only after its workers have started.
POSITIVE = (
    "max_num_seqs",
    "max_num_batched_tokens",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "gpu_memory_utilization_gb",
    "gpu_memory_utilization",
    "kv_cache_memory_bytes",
    "distributed_timeout_seconds",
)

#: Keys of the model's own configuration that would lift its context past what it was made for.
CONTEXT_OVERRIDES = ("max_position_embeddings", "rope_scaling", "rope_parameters", "rope_theta", "max_seq_len")


def ceiling_problems(served: Served) -> Iterator[Problem]:
    """Flags over the ceilings of the recipe."""
    limits, command = served.recipe.gx10.limits, served.command
    yield from _positive(served)
    yield from _context(served, limits.context_tokens)
    batched = command.value("max_num_batched_tokens", DEFAULT_BATCHED_TOKENS)
    yield from _above(served, "max_num_batched_tokens", batched, limits.batched_tokens, "tokens per batch")
    sequences = command.value("max_num_seqs", DEFAULT_SEQUENCES)
    yield from _above(served, "max_num_seqs", sequences, limits.sequences, "sequences at once")
    dest = "spec_tokens" if "spec_tokens" in command else "speculative_config"
    tokens = command.speculative.get("num_speculative_tokens")
    yield from _above(served, dest, tokens, limits.speculative_tokens, "speculative tokens")


def _positive(served: Served) -> Iterator[Problem]:
    command = served.command
    for dest in POSITIVE:
        value = command.value(dest)
        if isinstance(value, int | float) and value <= 0:
            yield served.problem(dest, "it must be above zero", "Write a number above zero.")
    if command.value("max_model_len", 1) < -1 or command.value("max_model_len", 1) == 0:
        yield served.problem("max_model_len", "a context has at least one token", "Write a number above zero.")
    if command.value("gpu_memory_utilization", 0) > 1:
        rule = "it is a fraction of the GPU's memory, at most 1"
        yield served.problem("gpu_memory_utilization", rule, "Give GiB with --gpu-memory-utilization-gb instead.")


def memory_problems(served: Served, cluster: Cluster) -> Iterator[Problem]:
    """A memory budget over the firm cap, or too near to what the tightest host shows."""
    limits = served.recipe.gx10.limits
    dest, budget, where = _budget(served, cluster)
    if budget is None or served.command.faulty("gpu_memory_utilization_gb", dest):
        return
    cap, margin = limits.memory_gib, limits.memory_margin_gib
    if cap is not None and budget > cap.value:
        yield served.problem(
            dest,
            f"{where}{budget:g} GiB is over the firm cap of {cap.value:g} GiB",
            f"Ask for at most {cap.value:g} GiB with --gpu-memory-utilization-gb.",
            cap.reason,
        )
    name, host = min(cluster.hosts.items(), key=lambda item: item[1].visible_memory_gib)
    distance = margin.value if margin is not None else 0.0
    if budget > host.visible_memory_gib - distance:
        yield served.problem(
            dest,
            f"{where}{budget:g} GiB is not {distance:g} GiB below the {host.visible_memory_gib:g} GiB that {name}, the "
            "tightest host, shows",
            f"Ask for at most {host.visible_memory_gib - distance:g} GiB with --gpu-memory-utilization-gb.",
            margin.reason if margin is not None else "the driver itself runs out of memory",
        )


def _budget(served: Served, cluster: Cluster) -> tuple[str, float | None, str]:
    """The flag that sets the memory budget, the budget in GiB on the largest host, and how it comes about."""
    command = served.command
    if "kv_cache_memory_bytes" in command:
        size = command.value("kv_cache_memory_bytes")
        return "kv_cache_memory_bytes", size / GIB if size else None, "the KV cache alone, "
    if "gpu_memory_utilization_gb" in command:
        return "gpu_memory_utilization_gb", command.value("gpu_memory_utilization_gb"), ""
    fraction = command.value("gpu_memory_utilization", DEFAULT_MEMORY_FRACTION)
    total = max(host.total_memory_gib for host in cluster.hosts.values())
    origin = "" if "gpu_memory_utilization" in command else "vLLM's default, "
    return "gpu_memory_utilization", fraction * total, f"{origin}{fraction:g} of {total:g} GiB, is a budget of which "


def _context(served: Served, limit: Limit | None) -> Iterator[Problem]:
    if limit is None:
        return
    yield from _above(served, "max_model_len", served.command.value("max_model_len"), limit, "tokens of context")
    overrides = served.command.value("hf_overrides")
    for key in CONTEXT_OVERRIDES:
        if isinstance(overrides, dict) and key in overrides:
            yield served.problem(
                "hf_overrides",
                f"{key} would change the model's own limit of {limit.value:g} tokens",
                f"Remove {key}, and keep --max-model-len at {limit.value:g} or below.",
                limit.reason,
            )
    name = "VLLM_ALLOW_LONG_MAX_MODEL_LEN"
    for key, variables in (("env", served.recipe.env), ("gx10.environment", served.recipe.gx10.environment)):
        if variables.get(name, "0").lower() in {"1", "true"}:
            rule = f"it would let the context pass the model's own limit of {limit.value:g} tokens"
            yield Problem(served.file, f"{key}.{name}", repr(variables[name]), rule, 'Write "0".', limit.reason)


def _above(served: Served, dest: str, value: Any, limit: Limit | None, unit: str) -> Iterator[Problem]:  # noqa: ANN401
    if limit is None or not isinstance(value, int | float) or value <= limit.value or served.command.faulty(dest):
        return
    default = "" if dest in served.command or dest == "speculative_config" else f"vLLM's default of {value:g}: "
    yield served.problem(
        dest,
        f"{default}at most {limit.value:g} {unit} are validated for this model",
        f"Write {served.command.flags[dest].flag.name if dest in served.command else '--' + dest.replace('_', '-')}"
        f" with {limit.value:g} or less.",
        limit.reason,
    )

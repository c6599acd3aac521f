"""Guards of the validated ceilings: each variant of a model has its own, with the pitfall each comes from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gx10.settings import Cluster, Problem
from gx10.settings.recipe import Limit

from ..memory import budget, budget_and_margin_gib
from .subject import Served

#: What vLLM 0.22.1 takes for an API server on a GPU of 70 GiB or more where the flag is left out.
DEFAULT_SEQUENCES = 1024
DEFAULT_BATCHED_TOKENS = 8192

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


def budget_problems(served: Served, cluster: Cluster) -> Iterator[Problem]:
    """A memory budget over what was validated, or too near to what a host shows."""
    if served.command.faulty("gpu_memory_utilization_gb", "gpu_memory_utilization", "kv_cache_memory_bytes"):
        return
    budgets = {name: given for name, host in cluster.hosts.items() if (given := budget(served.command, host))}
    if not budgets:
        return
    limit, margin = served.recipe.gx10.limits.budget_gib, served.recipe.gx10.limits.budget_margin_gib
    largest = max(budgets.values(), key=lambda given: given.gib)
    if limit is not None and largest.gib > limit.value:
        yield served.problem(
            largest.dest,
            f"{largest.origin}{largest.gib:g} GiB is more than the {limit.value:g} GiB validated for this model",
            f"Ask for at most {limit.value:g} GiB with --gpu-memory-utilization-gb.",
            limit.reason,
        )
    name = min(budgets, key=lambda host: cluster.hosts[host].visible_memory_gib - budgets[host].gib)
    tightest, visible = budgets[name], cluster.hosts[name].visible_memory_gib
    if tightest.gib > visible - margin.value:
        yield served.problem(
            tightest.dest,
            f"{tightest.origin}{tightest.gib:g} GiB is not {margin.value:g} GiB below the {visible:g} GiB that {name}, "
            "the tightest host, shows",
            f"Ask for at most {visible - margin.value:g} GiB with --gpu-memory-utilization-gb.",
            margin.reason,
        )


def memory_problems(served: Served, cluster: Cluster, cluster_file: str) -> Iterator[Problem]:
    """A budget that cannot be, or what the cluster file sets beside it: when a rank starts, and Ray's object store."""
    problems = tuple(budget_problems(served, cluster))
    yield from problems
    if problems or not cluster.host.unified_memory:
        return
    yield from _start(served, cluster, cluster_file)
    yield from _object_store(served, cluster, cluster_file)


def _start(served: Served, cluster: Cluster, file: str) -> Iterator[Problem]:
    needed, limits = cluster.host.needed_to_start_gib, served.recipe.gx10.limits
    if needed is None or cluster.container.runtime is None:  # without a GPU the engine takes no budget
        return
    least = max(budget_and_margin_gib(served.command, limits, host) for host in cluster.hosts.values())
    if needed < least:
        margin = limits.budget_margin_gib.value
        rule = f"the engine takes {least - margin:g} GiB, leaves {margin:g}, and does not start where less is there"
        remedy = f"Write {least:g} or more, or leave it out: then it follows from the budget."
        yield Problem(file, "host.needed_to_start_gib", f"{needed:g}", rule, remedy, "each such start costs an attempt")


def _object_store(served: Served, cluster: Cluster, file: str) -> Iterator[Problem]:
    store = cluster.ray.object_store_gib
    for name, host in cluster.hosts.items():
        given = budget(served.command, host)
        if given is not None and given.gib + store > host.visible_memory_gib:
            visible, left = host.visible_memory_gib, host.visible_memory_gib - given.gib
            rule = f"beside the engine's budget of {given.gib:g} GiB {name} has {left:.2f} of its {visible:g} GiB left"
            remedy = f"Write {min(left, 1):.2g}: the engine hardly uses it."
            yield Problem(file, "ray.object_store_gib", f"{store:g}", rule, remedy)
            return


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

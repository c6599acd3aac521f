"""Proof of the mod gpu-mem-util-gb against the engine that is installed."""

import inspect
from types import SimpleNamespace

GIB = 2**30
BUDGET_GIB = 108
# What the tightest of the benchmarked hosts showed, and the total from which the fraction would have been taken.
VISIBLE_BYTES, TOTAL_BYTES = int(111.27 * GIB), int(119.7 * GIB)


def hold(condition, otherwise):
    """Fail with a sentence unless the condition holds."""
    if not condition:
        raise AssertionError(otherwise)


def refusal(call, *arguments, **keywords):
    """The message of the ValueError that a call has to end in."""
    try:
        call(*arguments, **keywords)
    except ValueError as error:
        return str(error)
    raise AssertionError(f"{call.__qualname__}{arguments}{keywords} was accepted and had to be refused")


def prove() -> dict[str, object]:
    """Parse, configure and request the budget with vLLM's own code."""
    from vllm.config import CacheConfig
    from vllm.engine.arg_utils import AsyncEngineArgs, EngineArgs
    from vllm.entrypoints.openai.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser
    from vllm.v1.worker.utils import request_memory

    parser = make_arg_parser(FlexibleArgumentParser(prog="vllm serve"))
    arguments = parser.parse_args(["a-model", "--gpu-memory-utilization-gb", str(BUDGET_GIB)])
    engine = AsyncEngineArgs.from_cli_args(arguments)
    hold(engine.gpu_memory_utilization_gb == BUDGET_GIB, f"the flag became {engine.gpu_memory_utilization_gb}")
    wired = "gpu_memory_utilization_gb=self.gpu_memory_utilization_gb"
    hold(wired in inspect.getsource(EngineArgs.create_engine_config), "the engine does not hand the budget on")

    cache = CacheConfig(gpu_memory_utilization_gb=BUDGET_GIB)
    hold(cache.compute_hash() == CacheConfig().compute_hash(), "the budget changes the key of compiled graphs")

    def host(free_bytes):
        return SimpleNamespace(free_memory=free_bytes, total_memory=TOTAL_BYTES, device_="cuda:0")

    requested = request_memory(host(VISIBLE_BYTES), cache)
    hold(requested == BUDGET_GIB * GIB, f"{BUDGET_GIB} GiB became {requested} bytes")
    hold(request_memory(host(requested + GIB // 2), cache) == requested, "exactly 0.5 GiB left must be enough")
    tight = refusal(request_memory, host(requested + GIB // 2 - 1), cache)
    both = refusal(EngineArgs, model="a-model", gpu_memory_utilization_gb=108.0, kv_cache_memory_bytes=GIB)
    return {"requested_gib": requested / GIB, "refuses_tight_host": tight, "refuses_both_budgets": both}

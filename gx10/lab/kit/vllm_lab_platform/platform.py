"""The CPU platform as the lab needs it: counted by Ray as a GPU, deaf to what only a GPU can do."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vllm.logger import init_logger
from vllm.platforms.cpu import CpuPlatform

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.engine.arg_utils import EngineArgs
    from vllm.utils.argparse_utils import FlexibleArgumentParser

# A logger below "vllm": anything else has no handler in the engine's processes and its lines would be lost.
logger = init_logger(f"vllm.{__name__}")

CPU_FLAGS = Path("/proc/cpuinfo")

# What the CPU engine cannot honour: setting -> (the value that means "off", why).
_IMPOSSIBLE: dict[str, tuple[Any, str]] = {
    "enable_expert_parallel": (False, "the CPU MoE kernel crashes with expert parallelism"),
    "enable_mamba_cache_stochastic_rounding": (False, "stochastic rounding is a CUDA kernel"),
    "mamba_cache_philox_rounds": (0, "stochastic rounding is a CUDA kernel"),
    "speculative_config": (None, "the lab's model has no draft head"),
}

# The described budget (108 GiB) is a GPU's. Pages of a KV cache are touched on start, so what is not needed costs real
# memory on a machine that carries four ranks. Together they hold the tiny model's 262144-token context twice in fp8.
_KV_CACHE_MIB = 256


def has_avx512() -> bool:
    """Whether this machine's CPU has the vector instructions that some of vLLM's CPU kernels are written for."""
    return "avx512f" in CPU_FLAGS.read_text()


def drop_impossible(engine_args: "EngineArgs") -> None:
    """Set what this engine cannot honour to its neutral value and say so, one line each."""
    for name, (neutral, reason) in _IMPOSSIBLE.items():
        value = getattr(engine_args, name)
        if value not in (neutral, None):
            logger.warning("lab platform: dropped %s=%r: %s.", name, value, reason)
            setattr(engine_args, name, neutral)
    if engine_args.kv_cache_dtype.startswith("fp8") and not has_avx512():
        logger.warning("lab platform: dropped kv_cache_dtype='fp8': its kernels need AVX-512, which this CPU lacks.")
        engine_args.kv_cache_dtype = "auto"
    if not engine_args.enforce_eager:
        logger.warning("lab platform: set enforce_eager=True: there is no compiler and no CUDA graph here.")
        engine_args.enforce_eager = True


def free_activation_of_configuration() -> None:
    """Let experts run without vLLM's compiled kernel, which needs AVX-512.

    vLLM 0.22.1 then makes the activation anew in each forward pass, where no configuration is set, and fails with
    `Current vLLM config is not set`.
    """
    from vllm.model_executor.layers.fused_moe import cpu_fused_moe  # noqa: PLC0415 - not before the platform is chosen

    def silu_and_mul(gate_up: Any) -> Any:  # noqa: ANN401 - a tensor
        gate, up = gate_up.chunk(2, dim=-1)
        return cpu_fused_moe.F.silu(gate) * up

    cpu_fused_moe._CPU_MOE_ACT_FN[cpu_fused_moe.MoEActivation.SILU] = silu_and_mul


class LabPlatform(CpuPlatform):  # type: ignore[misc] # vllm is installed in the engine image only
    """CPU kernels behind Ray's `GPU` resource, so that placement groups and gates are those of production."""

    ray_device_key = "GPU"

    @classmethod
    def pre_register_and_update(cls, parser: "FlexibleArgumentParser | None" = None) -> None:
        """Hook the one place every way of starting an engine passes: `EngineArgs.create_engine_config`."""
        super().pre_register_and_update(parser)
        from vllm.engine.arg_utils import EngineArgs  # noqa: PLC0415 - it imports the platform that is being set up

        original = EngineArgs.create_engine_config
        if getattr(original, "drops_impossible", False):
            return

        @functools.wraps(original)
        def create_engine_config(self: "EngineArgs", *args: object, **kwargs: object) -> "VllmConfig":
            drop_impossible(self)
            return original(self, *args, **kwargs)

        create_engine_config.drops_impossible = True  # type: ignore[attr-defined]
        EngineArgs.create_engine_config = create_engine_config

    @classmethod
    def check_and_update_config(cls, vllm_config: "VllmConfig") -> None:
        """Give the KV cache its few megabytes, unless someone asked for an exact size."""
        super().check_and_update_config(vllm_config)
        cache = vllm_config.cache_config
        if cache.kv_cache_memory_bytes is None:
            size_mib = _KV_CACHE_MIB // vllm_config.parallel_config.world_size
            budget_gib = getattr(cache, "gpu_memory_utilization_gb", None)
            described = f"{cache.gpu_memory_utilization:.0%} of memory" if budget_gib is None else f"{budget_gib} GiB"
            logger.warning(
                "lab platform: a KV cache of %d MiB a rank instead of a budget of %s: the ranks share one machine.",
                size_mib,
                described,
            )
            cache.kv_cache_memory_bytes = size_mib * 2**20

    @classmethod
    def get_device_communicator_cls(cls) -> str:
        """Name the communicator whose ranks talk over the network."""
        return f"{__package__}.communicator.NetworkCommunicator"

    @classmethod
    def get_attn_backend_cls(cls, *args: object, **kwargs: object) -> str:
        """Name the attention backend; every rank asks while it builds the model, before its first forward pass."""
        free_activation_of_configuration()
        chosen: str = super().get_attn_backend_cls(*args, **kwargs)
        return chosen

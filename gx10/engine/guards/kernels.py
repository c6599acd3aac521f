"""Guards of the kernels: what the GPU of the hosts has, for the way the model's experts and state are stored."""

from __future__ import annotations

from collections.abc import Iterator

from gx10.settings import Cluster, Problem

from .subject import Served

#: Backends whose kernels are built for the data center's Blackwell (sm_100) only, as their own device checks say
#: (`_supports_current_device` in vllm/model_executor/layers/fused_moe/experts).
SM100_ONLY = frozenset({"flashinfer_trtllm", "flashinfer_cutedsl"})
#: Backends of other vendors' GPUs.
NOT_NVIDIA = frozenset({"aiter"})


def kernel_problems(served: Served, cluster: Cluster) -> Iterator[Problem]:
    """Backends that die while the model is built, long after vLLM's parser took them."""
    yield from _mamba(served, cluster)
    yield from _experts(served, cluster)
    yield from _draft_experts(served, cluster)


def _mamba(served: Served, cluster: Cluster) -> Iterator[Problem]:
    command = served.command
    backend = str(command.value("mamba_backend", "triton")).lower()
    if cluster.host.gpu == "GB10" and backend == "triton" and command.value("enable_mamba_cache_stochastic_rounding"):
        default = "" if "mamba_backend" in command else ", which is the default,"
        yield served.problem(
            "mamba_backend",
            f"the Mamba backend triton{default} cannot round stochastically on GB10",
            "Write --mamba-backend flashinfer.",
            "its cvt.rs instruction exists on sm_100 only, and the configuration check misses it",
        )


def _experts(served: Served, cluster: Cluster) -> Iterator[Problem]:
    model, command = served.recipe.gx10.model, served.command
    backend = command.value("moe_backend", "auto")
    yield from _of_gpu(served, cluster, "moe_backend", backend)
    if model is not None:
        yield from _of_quantization(served, "moe_backend", backend, model.quantization, "the model's experts")


def _draft_experts(served: Served, cluster: Cluster) -> Iterator[Problem]:
    """The draft head takes the model's backend unless it is given its own."""
    model, command = served.recipe.gx10.model, served.command
    method = command.speculative.get("method")
    if method not in command.names["mtp_methods"]:
        return
    own = command.speculative.get("moe_backend")
    dest = "speculative_config" if own is not None else "moe_backend"
    backend = str(own if own is not None else command.value("moe_backend", "auto"))
    if own is not None:
        yield from _of_gpu(served, cluster, dest, backend)
    if model is not None:
        quantization = model.draft_quantization
        yield from _of_quantization(served, dest, backend, quantization, "the experts of the MTP head")


def _of_gpu(served: Served, cluster: Cluster, dest: str, backend: str) -> Iterator[Problem]:
    if backend in NOT_NVIDIA or (cluster.host.gpu == "GB10" and backend in SM100_ONLY):
        yield served.problem(
            dest,
            f"the MoE backend {backend} has no kernels for {cluster.host.gpu}",
            "Write --moe-backend flashinfer_cutlass.",
            "vLLM's argument parser takes it, and the engine dies while the model is built",
        )


def _of_quantization(served: Served, dest: str, backend: str, quantization: str | None, what: str) -> Iterator[Problem]:
    kinds = {"nvfp4": "moe_backends_nvfp4", "bf16": "moe_backends_unquantized"}
    if quantization not in kinds or backend == "auto":
        return
    able = served.command.names[kinds[quantization]]
    if backend not in able:
        stored = "NVFP4" if quantization == "nvfp4" else "not quantized"
        fitting = sorted(able - SM100_ONLY - NOT_NVIDIA)
        yield served.problem(
            dest,
            f"{what} are {stored}, and the MoE backend {backend} cannot run such experts",
            f"Use one of: {', '.join(fitting)}; flashinfer_cutlass runs NVFP4 and unquantized experts alike.",
            "the engine dies while the model is built, minutes after the argument parser took the flag",
        )

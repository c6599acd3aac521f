"""The lab's platform plugin drops what a CPU cannot do, says so, and counts as Ray's GPU.

vLLM is in the engine image only: its modules are stood in for here, the plugin's own code is what runs.
"""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

PACKAGE = "gx10.lab.kit.vllm_lab_platform"


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, text: str, *values: object) -> None:
        self.lines.append(text % values)


class CpuPlatform:
    @classmethod
    def pre_register_and_update(cls, parser: object = None) -> None: ...

    @classmethod
    def check_and_update_config(cls, config: object) -> None: ...

    @classmethod
    def get_attn_backend_cls(cls, selected: str) -> str:
        return f"backend {selected}"


class EngineArgs(SimpleNamespace):
    def create_engine_config(self) -> dict[str, object]:
        return dict(vars(self))


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    provided: dict[str, dict[str, object]] = {
        "vllm": {},
        "vllm.logger": {"init_logger": lambda _: Log()},
        "vllm.platforms": {},
        "vllm.platforms.cpu": {"CpuPlatform": CpuPlatform},
        "vllm.engine": {},
        "vllm.engine.arg_utils": {"EngineArgs": type("EngineArgs", (EngineArgs,), {})},
    }
    for name, attributes in provided.items():
        module = ModuleType(name)
        vars(module).update(attributes)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, f"{PACKAGE}.platform", raising=False)
    yield importlib.import_module(f"{PACKAGE}.platform")
    sys.modules.pop(f"{PACKAGE}.platform", None)


def asked(**changes: object) -> dict[str, object]:
    production = {
        "enable_expert_parallel": True,
        "enable_mamba_cache_stochastic_rounding": True,
        "mamba_cache_philox_rounds": 5,
        "speculative_config": {"method": "nemotron_h_mtp", "num_speculative_tokens": 3},
        "enforce_eager": False,
        "kv_cache_dtype": "fp8",
        "gpu_memory_utilization_gb": 108.0,
    }
    return {**production, **changes}


@pytest.mark.parametrize(("flags", "kept", "lines"), [("avx2 avx512f", "fp8", 5), ("avx2", "auto", 6)])
def test_what_a_cpu_cannot_honour_is_dropped_and_logged_line_by_line(
    platform: ModuleType, tmp_path: Path, flags: str, kept: str, lines: int
) -> None:
    platform.CPU_FLAGS = tmp_path / "cpuinfo"  # type: ignore[attr-defined]
    platform.CPU_FLAGS.write_text(f"flags : fpu {flags}\n")
    platform.LabPlatform.pre_register_and_update()
    engine_args = sys.modules["vllm.engine.arg_utils"].EngineArgs
    made = engine_args(**asked()).create_engine_config()
    assert made == {
        "enable_expert_parallel": False,
        "enable_mamba_cache_stochastic_rounding": False,
        "mamba_cache_philox_rounds": 0,
        "speculative_config": None,
        "enforce_eager": True,
        "kv_cache_dtype": kept,
        "gpu_memory_utilization_gb": 108.0,
    }
    assert len(platform.logger.lines) == lines
    assert all(line.startswith("lab platform: ") for line in platform.logger.lines)


def test_nothing_is_logged_where_nothing_is_dropped(platform: ModuleType) -> None:
    neutral = {name: off for name, (off, _) in platform._IMPOSSIBLE.items()}
    platform.drop_impossible(SimpleNamespace(**asked(**neutral, enforce_eager=True, kv_cache_dtype="auto")))
    assert platform.logger.lines == []


def test_the_hook_is_set_once_however_often_vllm_asks(platform: ModuleType) -> None:
    platform.LabPlatform.pre_register_and_update()
    once = sys.modules["vllm.engine.arg_utils"].EngineArgs.create_engine_config
    platform.LabPlatform.pre_register_and_update()
    assert sys.modules["vllm.engine.arg_utils"].EngineArgs.create_engine_config is once


@pytest.mark.parametrize(("ranks", "mib"), [(1, 256), (4, 64)])
def test_the_ranks_of_one_machine_share_a_small_kv_cache(platform: ModuleType, ranks: int, mib: int) -> None:
    cache = SimpleNamespace(kv_cache_memory_bytes=None, gpu_memory_utilization=0.92, gpu_memory_utilization_gb=108.0)
    config = SimpleNamespace(cache_config=cache, parallel_config=SimpleNamespace(world_size=ranks))
    platform.LabPlatform.check_and_update_config(config)
    assert cache.kv_cache_memory_bytes == mib * 2**20
    assert "108.0 GiB" in platform.logger.lines[0]


def test_ray_counts_it_as_a_gpu(platform: ModuleType) -> None:
    assert platform.LabPlatform.ray_device_key == "GPU"


def test_experts_run_without_a_configuration_where_the_compiled_kernel_does_not(
    platform: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def needs_a_configuration(_: object) -> object:
        raise AssertionError("Current vLLM config is not set")

    kernel = ModuleType("cpu_fused_moe")
    silu = SimpleNamespace()
    activations = {"silu": needs_a_configuration}
    vars(kernel).update(F=silu, MoEActivation=SimpleNamespace(SILU="silu"), _CPU_MOE_ACT_FN=activations)
    fused_moe = ModuleType("vllm.model_executor.layers.fused_moe")
    vars(fused_moe).update(cpu_fused_moe=kernel)
    for name in ("vllm.model_executor", "vllm.model_executor.layers"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, fused_moe.__name__, fused_moe)

    class Half(str):
        __slots__ = ()

        def __mul__(self, other: object) -> str:  # type: ignore[override]
            return f"{self}*{other}"

    silu.silu = lambda gate: Half(f"silu({gate})")
    assert platform.LabPlatform.get_attn_backend_cls("chosen") == "backend chosen"
    halves = SimpleNamespace(chunk=lambda count, dim: ("gate", "up"))
    assert activations["silu"](halves) == "silu(gate)*up"

"""Published CUDA wheels of vLLM, installed as they are, with mods applied to a copy; and how to run something there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gx10.lab.cache import cache_directory, locked
from gx10.lab.kit import tiny_model
from gx10.lab.kit.elf import stand_in_library
from gx10.settings import PROJECT

HERE = Path(__file__).parent
MODS = PROJECT / "files/image/mods"
#: No requirement of vLLM, but of Nemotron's command line.
RAY = "ray==2.55.1"
#: What vLLM's kernels import of the driver, which a machine without a GPU does not have.
DRIVER = ("cuGetProcAddress_v2", "cuPointerGetAttribute", "cuTensorMapEncodeTiled")

#: Not NVIDIA's configuration but one in its shape: each kind of layer, a draft head, NVFP4 experts, the context.
ULTRA = {
    "architectures": ["NemotronHForCausalLM"],
    "model_type": "nemotron_h",
    # transformers 4 does not know the model: its repository brings the class, as this one does.
    "auto_map": {"AutoConfig": "configuration_nemotron_h.NemotronHConfig"},
    "vocab_size": 1024,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "hybrid_override_pattern": "MEM*",
    "mtp_hybrid_override_pattern": "*E",
    "num_nextn_predict_layers": 1,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "max_position_embeddings": 262144,
    "ssm_state_size": 64,
    "mamba_num_heads": 16,
    "mamba_n_groups": 8,
    "mamba_head_dim": 32,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 256,
    "moe_latent_size": 128,
    "moe_shared_expert_intermediate_size": 256,
    "torch_dtype": "bfloat16",
    "quantization_config": {
        "quant_method": "modelopt",
        "quant_algo": "NVFP4",
        "kv_cache_scheme": None,
        "ignore": ["lm_head", "mtp*"],
        "group_size": 16,
        "config_groups": {
            "group_0": {
                "input_activations": {"dynamic": False, "num_bits": 4, "type": "float", "group_size": 16},
                "weights": {"dynamic": False, "num_bits": 4, "type": "float", "group_size": 16},
                "targets": ["Linear"],
            }
        },
    },
}


@dataclass(frozen=True)
class Engine:
    """One installed vLLM, with the mods applied to its own copy of the package."""

    python: Path
    site: Path
    mods: Path
    applied: dict[str, dict[str, Any]]
    """What the program of the image recorded when it applied the mods."""

    def configure(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Prove the mods and take a command line up to the engine's whole configuration, on a pretended GB10."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.site),
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(self.site),
            "LD_LIBRARY_PATH": str(self.site / "driver"),
            "VLLM_PLUGINS": "pretended_gb10",
            "VLLM_LOGGING_STREAM": "ext://sys.stderr",
            "VLLM_NO_USAGE_STATS": "1",
        }
        argv = [self.python, HERE / "configure.py", self.mods, *arguments]
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=300, check=False)

    def configured(self, *arguments: str) -> dict[str, Any]:
        """What `configure.py` found; fails with the end of what it said."""
        done = self.configure(*arguments)
        assert done.returncode == 0, done.stderr[-3000:]
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found


def installed(version: str) -> Path:
    """A virtual environment with a published vLLM and what it asks for, kept in the cache; about 9 GB for the first."""
    root = cache_directory() / "engines"
    root.mkdir(exist_ok=True)
    final = root / version
    with locked(cache_directory() / "engines.lock"):
        if not (final / "complete").exists():
            uv = str(Path(sys.executable).with_name("uv"))
            own = {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_CONFIG": "1", "UV_CACHE_DIR": str(root / "uv")}
            environment = {**os.environ, **own}
            subprocess.run(
                [uv, "venv", "--quiet", "--clear", "--python", sys.executable, final], env=environment, check=True
            )
            install = [uv, "pip", "install", "--quiet", "--python", str(final / "bin/python"), f"vllm=={version}", RAY]
            subprocess.run(install, env=environment, check=True)
            (final / "complete").touch()
    return final


def copied(version: str, site: Path, mods: Path = MODS) -> Engine:
    """A copy of a published vLLM with mods applied to it; the installed one stays as it was published."""
    venv = installed(version)
    (package,) = venv.glob("lib/python3*/site-packages/vllm")
    # Hard links: both tools that apply a patch write a new file, so the original keeps its content.
    shutil.copytree(package, site / "vllm", copy_function=os.link, ignore=shutil.ignore_patterns("__pycache__"))
    (site / "driver").mkdir()
    (site / "driver/libcuda.so.1").write_bytes(stand_in_library("libcuda.so.1", dict.fromkeys(DRIVER)))
    (site / "pretended_gb10.py").write_bytes((HERE / "pretended_gb10.py").read_bytes())
    info = site / "pretended_gb10-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pretended-gb10\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[vllm.platform_plugins]\npretended_gb10 = pretended_gb10:register\n")
    record = site / "mods.json"
    program = PROJECT / "files/image/apply_mods.py"
    argv = [sys.executable, program, "--mods", mods, "--site", site, "--record", record]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=site, check=False)
    assert done.returncode == 0, done.stderr
    return Engine(venv / "bin/python", site, mods, json.loads(record.read_text()))


def model(directory: Path) -> Path:
    """A model in the shape of Nemotron 3 Ultra, without weights: a configuration and a tokenizer."""
    tiny_model.write(directory)
    for weights in directory.glob("*.safetensors*"):
        weights.unlink()
    (directory / "config.json").write_text(json.dumps(ULTRA))
    code = "from vllm.transformers_utils.configs.nemotron_h import NemotronHConfig as Own\n\n\n"
    code += "class NemotronHConfig(Own):\n    pass\n"
    (directory / "configuration_nemotron_h.py").write_text(code)
    return directory

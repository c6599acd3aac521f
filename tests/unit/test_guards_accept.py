"""The guards refuse what cannot run and nothing else: configurations that others serve with pass."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gx10.engine.checked import Checked
from gx10.settings import PROJECT

from .good_project import GoodProject, put, remove


def served_with(tmp_path: Path, command: str, **changes: object) -> Checked:
    """Check a project whose recipe has this command; double underscores in `changes` are dots."""
    project = GoodProject.at(tmp_path)
    project.recipe["command"] = command
    project.recipe["defaults"] = {}
    for key, value in changes.items():
        put(project.recipe, key.replace("__", "."), value)
    project.write()
    return project.check()


def test_another_published_configuration_of_the_same_model_passes(tmp_path: Path) -> None:
    command = """
    vllm serve {model_path} --port 8000 --tensor-parallel-size 4 --distributed-executor-backend ray
      --gpu-memory-utilization 0.85 --max-num-seqs 2 --max-model-len 262144 --max-num-batched-tokens 8192
      --moe-backend marlin --speculative_config.method mtp --speculative_config.num_speculative_tokens 3
      --speculative_config.moe_backend triton --mamba-cache-mode align --mamba_ssm_cache_dtype float32
      --attention-backend TRITON_ATTN -cc.mode 0 -cc.cudagraph_mode FULL_DECODE_ONLY
      --load-format instanttensor --max-parallel-loading-workers 1 --enable-auto-tool-choice
      --reasoning-parser nemotron_v3 --tool-call-parser qwen3_xml --trust-remote-code
    """
    checked = served_with(tmp_path, command, mods=[])
    assert checked.budget_gib is None
    assert checked.speculative_tokens == 3


def test_a_model_without_limits_is_judged_by_what_vllm_can_run_alone(tmp_path: Path) -> None:
    command = """
    vllm serve {model_path} --served-model-name qwen3.5-397b --tensor-parallel-size 2 --pipeline-parallel-size 2
      --distributed-executor-backend ray --kv-cache-dtype fp8 --gpu-memory-utilization-gb 108 --max-num-seqs 16
      --speculative-config '{{"method": "qwen3_next_mtp", "num_speculative_tokens": 2}}'
      --reasoning-parser qwen3 --tool-call-parser qwen3_coder --enable-auto-tool-choice
    """
    checked = served_with(tmp_path, command, gx10={"model": {"path": "qwen/qwen3.5-397b-fp8", "quantization": "fp8"}})
    assert checked.served_name == "qwen3.5-397b"


def test_one_host_needs_neither_ray_nor_a_second_gpu(tmp_path: Path) -> None:
    project = GoodProject.at(tmp_path)
    for name in ("gx10-2", "gx10-3", "gx10-4"):
        remove(project.cluster, f"hosts.{name}")
    project.recipe |= {"cluster_only": False, "solo_only": True, "defaults": {"port": 8001}}
    project.recipe["command"] = "vllm serve {model_path} --port {port} --max-num-seqs 4 --gpu-memory-utilization-gb 100"
    project.write()
    assert project.check().port == 8001


def test_a_parser_from_a_plugin_is_left_to_the_plugin(tmp_path: Path) -> None:
    command = (
        "vllm serve {model_path} -tp 4 --distributed-executor-backend ray --max-num-seqs 6 "
        "--gpu-memory-utilization-gb 108 --reasoning-parser mine --reasoning-parser-plugin /opt/mine.py"
    )
    assert served_with(tmp_path, command).command.value("reasoning_parser") == "mine"


@pytest.mark.parametrize("budget", [105, 108])
def test_a_budget_up_to_the_largest_validated_one_passes(tmp_path: Path, budget: int) -> None:
    project = GoodProject.at(tmp_path)
    put(project.recipe, "defaults.gpu_memory_gb", budget)
    project.write()
    assert project.check().budget_gib == budget


def test_numbers_in_the_environment_are_taken_as_their_text(tmp_path: Path) -> None:
    project = GoodProject.at(tmp_path)
    put(project.recipe, "env.VLLM_ALLOW_LONG_MAX_MODEL_LEN", 0)
    put(project.recipe, "recipe_version", 1)
    project.write()
    assert project.check().environment["VLLM_ALLOW_LONG_MAX_MODEL_LEN"] == "0"


def test_triton_may_keep_the_mamba_state_where_the_gpu_can_round(tmp_path: Path) -> None:
    project = GoodProject.at(tmp_path)
    put(project.cluster, "host.gpu", "B200")
    project.recipe["command"] = project.recipe["command"].replace("mamba-backend flashinfer", "mamba-backend triton")
    project.write()
    assert project.check().command.value("mamba_backend") == "triton"


@pytest.mark.parametrize(
    ("recipe", "image"), [("qwen3.5-397b-fp8", "vllm-node-mimo"), ("lab-qwen3.5-397b", "vllm-node")]
)
def test_the_other_model_passes_with_its_own_image(tmp_path: Path, recipe: str, image: str) -> None:
    project = GoodProject.at(tmp_path)
    project.cluster["recipe"] = recipe
    for directory in ("recipes", "images"):
        shutil.copytree(PROJECT / directory, tmp_path / directory)
    project.write()
    checked = project.check()
    assert checked.loaded.image_file == f"images/{image}.yaml"
    assert (checked.command.world_size, checked.speculative_tokens) == (4, 2)
    assert checked.command.value("gpu_memory_utilization") == 0.9
    assert checked.command.value("max_num_seqs") == 16


def test_a_mod_of_the_projects_own_is_taken_when_the_image_bakes_it(tmp_path: Path) -> None:
    project = GoodProject.at(tmp_path)
    (tmp_path / "files/image/mods/my-mod").mkdir(parents=True)
    project.recipe["mods"].append("mods/my-mod")
    project.image["mods"].append("my-mod")
    project.write()
    assert project.check().loaded.recipe.mods == ("mods/gpu-mem-util-gb", "mods/my-mod")

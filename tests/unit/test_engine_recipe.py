"""Nemotron's recipe renders to the validated launch configuration, token by token."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from gx10.engine.vllm.render import OFFLINE, environment, joined_lines, render
from gx10.settings import PROJECT, Problem, Recipe, load_recipe

from .good_project import GoodProject

#: Launch configuration of Nemotron-3-Ultra on 4x GX10, validated boot of 2026-06-06, as published.
DOCUMENT_COMMAND = r"""
vllm serve /root/.cache/huggingface/nvidia/NVIDIA-Nemotron-3-Ultra-550B-A55B-NVFP4 \
  --served-model-name nvidia/nemotron-3-ultra \
  --host 0.0.0.0 --port 8000 \
  --trust-remote-code \
  --tensor-parallel-size 4 \
  --enable-expert-parallel \
  --distributed-executor-backend ray \
  --kv-cache-dtype fp8 \
  --gpu-memory-utilization-gb 108 \
  --max-model-len 262144 \
  --max-num-seqs 6 \
  --max-num-batched-tokens 8192 \
  --enable-chunked-prefill \
  --enable-prefix-caching \
  --enable-auto-tool-choice \
  --reasoning-parser nemotron_v3 \
  --tool-call-parser qwen3_coder \
  --mamba-ssm-cache-dtype float16 \
  --mamba-backend flashinfer \
  --enable-mamba-cache-stochastic-rounding \
  --mamba-cache-philox-rounds 5 \
  --moe-backend flashinfer_cutlass \
  --speculative-config '{"method":"nemotron_h_mtp","num_speculative_tokens":3}' \
  --model-loader-extra-config '{"enable_multithread_load": true, "num_threads": 16}' \
  --compilation-config '{"pass_config": {"fuse_allreduce_rms": false}}' \
  --distributed-timeout-seconds 3600
"""

#: Environment of its container, in the order of its `docker run`.
DOCUMENT_ENVIRONMENT = [
    ("HF_HUB_OFFLINE", "1"),
    ("TRANSFORMERS_OFFLINE", "1"),
    ("VLLM_FLASHINFER_ALLREDUCE_BACKEND", "trtllm"),
    ("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "0"),
    ("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True"),
]

NEMOTRON = "nemotron-3-ultra-nvfp4"
LAB = "lab-nemotron-3-ultra"


def rendered(recipe: Recipe, mount: str = "/root/.cache/huggingface") -> tuple[str, ...]:
    """The recipe's command, which must render without a problem."""
    problems: list[Problem] = []
    assert recipe.gx10.model is not None
    words = render(recipe, "recipes/x.yaml", {"model_path": f"{mount}/{recipe.gx10.model.path}"}, problems)
    assert words is not None
    assert problems == []
    return words.argv


def test_nemotron_recipe_renders_the_documented_command() -> None:
    recipe, _ = load_recipe(NEMOTRON)
    assert list(rendered(recipe)) == shlex.split(joined_lines(DOCUMENT_COMMAND))


def test_nemotron_recipe_gives_the_documented_environment_in_its_order() -> None:
    recipe, _ = load_recipe(NEMOTRON)
    assert list((OFFLINE | recipe.env).items()) == DOCUMENT_ENVIRONMENT
    handed_over = environment(recipe)
    assert list(handed_over.items())[: len(DOCUMENT_ENVIRONMENT)] == DOCUMENT_ENVIRONMENT


def test_what_this_package_adds_to_the_documented_environment_is_one_timeout() -> None:
    recipe, _ = load_recipe(NEMOTRON)
    assert recipe.gx10.environment == {"VLLM_ENGINE_READY_TIMEOUT_S": str(recipe.gx10.start_timeout_seconds)}


def test_the_lab_serves_the_same_command_with_another_model_path() -> None:
    nemotron, lab = (rendered(load_recipe(name)[0]) for name in (NEMOTRON, LAB))
    assert nemotron[:2] + nemotron[3:] == lab[:2] + lab[3:]
    assert lab[2] == "/root/.cache/huggingface/tiny-qwen3-moe"


def test_the_lab_expects_no_prediction_of_tokens() -> None:
    nemotron, lab = (load_recipe(name)[0] for name in (NEMOTRON, LAB))
    assert any(line.per_rank for line in nemotron.gx10.boot_lines)
    assert lab.gx10.boot_lines == ()


def test_nemotron_recipe_keeps_to_the_schema_it_is_shared_in() -> None:
    recipe, _ = load_recipe(NEMOTRON)
    schema = {"recipe_version", "name", "description", "model", "container", "mods", "defaults", "env", "command"}
    schema |= {"build_args", "cluster_only", "solo_only"}
    assert set(Recipe.model_fields) - schema == {"gx10"}
    assert recipe.recipe_version == "1"


def test_every_limit_of_nemotron_names_its_pitfall() -> None:
    limits = load_recipe(NEMOTRON)[0].gx10.limits
    values = {name: getattr(limits, name) for name in type(limits).model_fields}
    assert {name: limit.value for name, limit in values.items()} == {
        "context_tokens": 262144,
        "batched_tokens": 8192,
        "sequences": 6,
        "speculative_tokens": 3,
        "budget_gib": 108,
        "budget_margin_gib": 0.5,
        "budget_floor_gib": 105,
    }
    assert all(len(limit.reason) > 30 for limit in values.values())


@pytest.mark.parametrize("name", sorted(path.stem for path in (PROJECT / "recipes").glob("*.yaml")))
def test_every_recipe_in_the_project_passes_on_four_hosts(name: str, tmp_path: Path) -> None:
    project = GoodProject.at(tmp_path)
    project.cluster["recipe"] = name
    files = [path for kind in ("recipes", "images") for path in (PROJECT / kind).glob("*.yaml")]
    project.write({path.relative_to(PROJECT).as_posix(): path.read_text() for path in files})
    assert project.check().served_name

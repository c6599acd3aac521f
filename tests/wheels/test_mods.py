"""The mods on published CUDA wheels of vLLM: applied as in an image, proven by vLLM's own code for a pretended GB10.

Heavy (`make prove-mods`): it downloads three wheels with what they ask for. A part of it is in tests/lab for one wheel.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from gx10.engine.checked import check
from gx10.lab.cache import cache_directory
from gx10.settings import PROJECT

from . import engines
from .engines import Engine

VERSIONS = ("0.22.0", "0.22.1", "0.23.0")


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A directory on the file system of the cache, so that copies are hard links."""
    with TemporaryDirectory(prefix=".engines-", dir=cache_directory()) as directory:
        yield Path(directory)


@pytest.fixture(scope="session", params=VERSIONS)
def engine(request: pytest.FixtureRequest, scratch: Path) -> Engine:
    """One published vLLM with the mods applied."""
    return engines.copied(request.param, scratch / request.param)


@pytest.fixture(scope="session")
def nemotron(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Nemotron's command line, from the model on, with a model of its shape."""
    return [str(engines.model(tmp_path_factory.mktemp("model") / "ultra")), *check("lab").argv[3:]]


@pytest.fixture(scope="session")
def configured(engine: Engine, nemotron: list[str]) -> dict[str, Any]:
    """The engine's whole configuration for Nemotron's command line, and what the mods proved on the way."""
    return engine.configured(*nemotron)


def test_the_memory_mod_fits_strictly(engine: Engine) -> None:
    assert engine.applied["gpu-mem-util-gb"]["patches"] == {"gpu-mem-util-gb.patch": "git apply"}


def test_the_nemotron_mod_has_nothing_to_do_and_says_so(engine: Engine) -> None:
    assert engine.applied["nemotron-ultra"]["files"] == {}
    assert "nothing to do" in engine.applied["nemotron-ultra"]["note"]


def test_the_engines_registries_know_the_model_without_the_nemotron_mod(configured: dict[str, Any]) -> None:
    assert configured["proofs"]["nemotron-ultra"]["architecture"] == "NemotronHForCausalLM"


def test_108_gib_are_requested_exactly_and_a_tight_host_is_refused(configured: dict[str, Any]) -> None:
    proof = configured["proofs"]["gpu-mem-util-gb"]
    assert proof["requested_gib"] == 108.0
    assert "less than 0.5 GiB would be left" in proof["refuses_tight_host"]
    assert "exclude each other" in proof["refuses_both_budgets"]


def test_nemotrons_command_configures_the_whole_engine_on_a_gb10(configured: dict[str, Any]) -> None:
    expected = {
        "device": "NVIDIA GB10",
        "architecture": "NemotronHForCausalLM",
        "quantization": "modelopt_fp4",
        "draft": "NemotronHMTPModel",
        "draft_tokens": 3,
        "tensor_parallel": 4,
        "gib": 108.0,
        "cache": "fp8",
        "context": 262144,
    }
    assert {key: configured[key] for key in expected} == expected


def test_without_the_mod_the_flag_is_unknown(scratch: Path, nemotron: list[str]) -> None:
    (scratch / "no-mods").mkdir()
    done = engines.copied(VERSIONS[-1], scratch / "bare", scratch / "no-mods").configure(*nemotron)
    assert done.returncode != 0
    assert "unrecognized arguments: --gpu-memory-utilization-gb" in done.stderr


def test_the_recorded_hashes_are_those_of_the_patched_files(engine: Engine) -> None:
    assert sorted(engine.applied["gpu-mem-util-gb"]["files"]) == [
        "vllm/config/cache.py",
        "vllm/engine/arg_utils.py",
        "vllm/v1/worker/utils.py",
    ]
    assert json.loads((engine.site / "mods.json").read_text()) == engine.applied


def test_every_mod_of_the_project_is_proven() -> None:
    mods = {path.name for path in (PROJECT / "files/image/mods").iterdir() if path.is_dir()}
    assert mods == {"gpu-mem-util-gb", "nemotron-ultra"}
    assert all(Path(engines.MODS, mod, "prove.py").exists() for mod in mods)

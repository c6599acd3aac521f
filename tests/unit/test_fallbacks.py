"""The ladder: each rung keeps what those before it gave up, and is judged like the command itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gx10.engine.checked import check
from gx10.settings import SettingsError

from .good_project import GoodProject


@pytest.fixture
def project(tmp_path: Path) -> GoodProject:
    """A good project."""
    return GoodProject.at(tmp_path)


def with_ladder(project: GoodProject, *fallbacks: dict[str, Any]) -> GoodProject:
    """The project with a ladder."""
    project.recipe["gx10"]["fallbacks"] = [{"name": f"rung {n}", **told} for n, told in enumerate(fallbacks)]
    project.write()
    return project


def test_nemotron_gives_up_in_the_order_of_the_benchmark() -> None:
    ladder = check("lab").fallbacks
    assert [rung.name.split()[0] for rung in ladder] == ["without", "four", "two", "106", "105"]
    assert all("--speculative-config" not in rung.argv for rung in ladder)
    last = ladder[-1].argv
    assert last[last.index("--gpu-memory-utilization-gb") + 1] == "105"
    assert last[last.index("--max-num-seqs") + 1] == "2"
    assert not any(word.startswith('{"method"') for word in last), "a flag goes with its value"


@pytest.mark.parametrize(
    ("fallback", "key", "told"),
    [
        ({"without": ["--no-such"]}, "gx10.fallbacks.0.without", "nothing is given up"),
        ({"defaults": {"sequences": 2}}, "gx10.fallbacks.0.defaults.sequences", "no such placeholder"),
        ({"defaults": {"gpu_memory_gb": 104}}, "gx10.fallbacks.0.defaults", "at least 105 GiB"),
        ({"defaults": {"gpu_memory_gb": 110}}, "defaults.gpu_memory_gb", "more than the 108 GiB validated"),
        ({"defaults": {"max_num_seqs": 9}}, "defaults.max_num_seqs", "at most 6 sequences"),
    ],
)
def test_a_rung_that_cannot_be_is_refused(project: GoodProject, fallback: dict[str, Any], key: str, told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        with_ladder(project, fallback).check()
    assert [(problem.key, told in problem.sentence()) for problem in refused.value.problems] == [(key, True)]

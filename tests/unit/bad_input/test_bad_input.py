"""Bad input is refused with a sentence that names file, key and remedy, and no host is contacted."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

from gx10.settings import PROJECT, SettingsError

from ..good_project import CLUSTER, RECIPE, GoodProject, put, remove

CASES: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "cases.yaml").read_text())


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Any connection fails the test."""

    def refuse(*_: object) -> NoReturn:
        pytest.fail("a socket was connected while a description was judged")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    return


@pytest.fixture
def project(tmp_path: Path) -> GoodProject:
    """A project that passes."""
    return GoodProject.at(tmp_path)


def break_it(project: GoodProject, case: dict[str, Any]) -> None:
    """Apply a case's changes, each of which must change something."""
    trees = {"cluster": project.cluster, "recipe": project.recipe, "image": project.image}
    for part, tree in trees.items():
        for key, value in case.get(part, {}).items():
            put(tree, key, value)
        for key in case.get("without", {}).get(part, ()):
            remove(tree, key)
    for old, new in case.get("command", {}).items():
        command = project.recipe["command"]
        assert old == "end" or old in command, f"the command has no {old!r} to replace"
        project.recipe["command"] = command.rstrip() + new if old == "end" else command.replace(old, new)
    project.write(case.get("texts"))


def test_the_good_project_passes(project: GoodProject) -> None:
    project.write()
    assert project.check().command.world_size == 4


def test_there_are_enough_cases_and_each_is_named_once() -> None:
    names = [case["case"] for case in CASES]
    assert len(names) == len(set(names)) >= 60


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"].replace(" ", "-"))
def test_refused_with_file_key_and_remedy(project: GoodProject, case: dict[str, Any]) -> None:
    break_it(project, case)
    with pytest.raises(SettingsError) as refused:
        project.check(case.get("name", "four"))
    problems = refused.value.problems
    meant = [
        problem
        for problem in problems
        if problem.file == case["file"]
        and problem.key == case.get("key", problem.key)
        and all(text in problem.sentence() for text in case["says"])
    ]
    assert meant, f"expected {case['file']} {case.get('key')} {case['says']}, got:\n{refused.value}"
    assert len(problems) == case.get("problems", 1), str(refused.value)
    for problem in problems:
        assert problem.remedy.endswith((".", "?")), problem
        assert "\n" not in problem.sentence()
    if "hides" in case:
        assert case["hides"] not in str(refused.value)


def test_one_run_reports_all_problems(project: GoodProject) -> None:
    put(project.cluster, "hosts.gx10-3.management", "10.0.0.12")
    put(project.cluster, "head", "gx10-9")
    put(project.recipe, "defaults.max_model_len", 1048576)
    put(project.recipe, "defaults.tensor_parallel", 8)
    put(project.recipe, "env.VLLM_FLASHINFER_MOE_BACKEND", "throughput")
    project.recipe["command"] = project.recipe["command"].replace("nemotron_v3", "nope").rstrip() + " --prot 1"
    project.image["mods"] = []
    project.write()
    with pytest.raises(SettingsError) as refused:
        project.check()
    assert {(problem.file, problem.key) for problem in refused.value.problems} == {
        (CLUSTER, "hosts.gx10-3.management"),
        (CLUSTER, "head"),
        (RECIPE, "defaults.max_model_len"),
        (RECIPE, "defaults.tensor_parallel"),
        (RECIPE, "env.VLLM_FLASHINFER_MOE_BACKEND"),
        (RECIPE, "command"),
        (RECIPE, "mods.0"),
    }
    assert len(refused.value.problems) == 8  # two of them in the command


def test_a_broken_type_does_not_hide_what_is_wrong_elsewhere(project: GoodProject) -> None:
    put(project.cluster, "ray.cpus", "two")
    put(project.recipe, "defaults.num_speculative_tokens", 5)
    put(project.image, "platfrom", "linux/arm64")
    project.write()
    with pytest.raises(SettingsError) as refused:
        project.check()
    assert [problem.key for problem in refused.value.problems] == [
        "ray.cpus",
        "platfrom",
        "defaults.num_speculative_tokens",
    ]


def test_every_problem_names_its_line(project: GoodProject) -> None:
    put(project.recipe, "defaults.max_num_seqs", 9)
    project.write()
    with pytest.raises(SettingsError) as refused:
        project.check()
    (problem,) = refused.value.problems
    lines = (project.root / RECIPE).read_text().splitlines()
    assert "max_num_seqs: 9" in lines[problem.line - 1]
    assert problem.sentence().startswith(f"{RECIPE}:{problem.line}: defaults.max_num_seqs: found --max-num-seqs 9, but")


def test_a_problem_of_an_extended_recipe_names_the_file_it_stands_in(project: GoodProject) -> None:
    put(project.recipe, "defaults.max_num_seqs", 9)
    top = {"gx10": {"extends": "base", "start_timeout_seconds": 900}}
    project.write({"recipes/served.yaml": yaml.safe_dump(top), "recipes/base.yaml": yaml.safe_dump(project.recipe)})
    with pytest.raises(SettingsError) as refused:
        project.check()
    assert [(problem.file, problem.key) for problem in refused.value.problems] == [
        ("recipes/base.yaml", "defaults.max_num_seqs")
    ]


def test_the_example_is_refused_unedited(project: GoodProject) -> None:
    project.recipe["name"] = "the recipe that the example names"
    text = (PROJECT / "clusters/example.yaml").read_text()
    recipe = yaml.safe_dump(project.recipe)
    project.write({"clusters/example.yaml": text, "recipes/nemotron-3-ultra-nvfp4.yaml": recipe})
    with pytest.raises(SettingsError) as refused:
        project.check("example")
    (problem,) = refused.value.problems
    assert (problem.file, problem.key) == ("clusters/example.yaml", "hosts")
    assert "reserved for documentation" in problem.rule

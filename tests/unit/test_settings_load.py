"""Files are read as people mean them, and what they say is fixed once it is read."""

from __future__ import annotations

from pathlib import Path

import pydantic
import pytest
import yaml

from gx10.settings import PROJECT, Cluster, SettingsError, load, load_recipe

from .good_project import GoodProject, put


@pytest.fixture
def project(tmp_path: Path) -> GoodProject:
    """A project that passes."""
    return GoodProject.at(tmp_path)


def test_the_cluster_is_chosen_by_the_environment(project: GoodProject, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write()
    monkeypatch.setenv("GX10_CLUSTER", "four")
    assert load(project=project.root).cluster.name == "four"


def test_the_lab_is_the_default(project: GoodProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GX10_CLUSTER", raising=False)
    project.write({"clusters/lab.yaml": yaml.safe_dump({**project.cluster, "name": "lab"})})
    assert load(project=project.root).cluster.name == "lab"


def test_what_was_read_never_changes(project: GoodProject) -> None:
    project.write()
    cluster = load("four", project.root).cluster
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        cluster.head = "gx10-2"


def test_the_head_is_no_worker(project: GoodProject) -> None:
    project.write()
    cluster = load("four", project.root).cluster
    assert cluster.workers == ("gx10-2", "gx10-3", "gx10-4")
    assert cluster.head_address == "10.0.1.11"


def test_a_recipe_that_extends_another_keeps_what_it_does_not_replace(project: GoodProject) -> None:
    put(project.recipe, "gx10.start_timeout_seconds", 1700)
    above = {
        "description": "the same, with less",
        "defaults": {"max_num_seqs": 2},
        "gx10": {"extends": "served", "limits": {"sequences": {"value": 2, "reason": "memory is shared"}}},
    }
    project.write({"recipes/less.yaml": yaml.safe_dump(above)})
    recipe, file = load_recipe("less", project.root)
    assert file == "recipes/less.yaml"
    assert recipe.gx10.extends is None
    assert recipe.description == "the same, with less"
    assert recipe.defaults["max_num_seqs"] == 2
    assert recipe.defaults["port"] == 8000
    assert recipe.gx10.start_timeout_seconds == 1700
    assert recipe.gx10.limits.sequences is not None
    assert recipe.gx10.limits.sequences.value == 2
    assert recipe.gx10.limits.batched_tokens is not None


def test_a_cluster_may_use_another_image_than_the_recipe_names(project: GoodProject) -> None:
    put(project.cluster, "images", {"vllm-node": "mine"})
    project.write({"images/mine.yaml": yaml.safe_dump({**project.image, "name": "mine"})})
    assert load("four", project.root).image_file == "images/mine.yaml"


def test_a_missing_recipe_is_named_with_those_there_are(project: GoodProject) -> None:
    project.write()
    with pytest.raises(SettingsError, match=r"recipes/nope.yaml does not exist. Choose one of: served\."):
        load_recipe("nope", project.root)


def test_the_example_has_every_key_that_a_cluster_needs() -> None:
    example = yaml.safe_load((PROJECT / "clusters/example.yaml").read_text())
    assert Cluster.model_validate(example).head == "gx10-1"


def test_null_in_a_recipe_removes_what_the_one_it_extends_has(project: GoodProject) -> None:
    put(project.recipe, "env.NCCL_DEBUG", "INFO")
    put(project.recipe, "defaults.unused", 3)
    below = {"description": "between", "env": {"VLLM_LOGGING_LEVEL": "DEBUG"}, "gx10": {"extends": "served"}}
    above = {"defaults": {"unused": None}, "env": {"NCCL_DEBUG": None}, "mods": None, "gx10": {"extends": "between"}}
    project.write({"recipes/between.yaml": yaml.safe_dump(below), "recipes/less.yaml": yaml.safe_dump(above)})
    recipe, _ = load_recipe("less", project.root)
    assert "unused" not in recipe.defaults
    assert recipe.defaults["port"] == 8000
    assert "NCCL_DEBUG" not in recipe.env
    assert recipe.env["VLLM_LOGGING_LEVEL"] == "DEBUG"
    assert recipe.mods == ()


YAML_FAULTS = {
    "a:\n  b: 1\n\tc: 2\n": (3, "line 3 is indented by a tab"),
    "a: 1\n  b: 2\n": (2, "line 2 is indented by 2 spaces, line 1 above it by nothing. Check the indentation"),
    "a:\n    b: 1\n  c: 2\n": (3, "line 3 is indented by 2 spaces, line 2 above it by 4 spaces. Check the indentation"),
    "a:\n  - x\n  b: 1\n": (3, "line 3 is a key among the items of a list"),
    "a: {b: 1\nc: 2\n": (1, "the { in line 1 is not closed before line 2"),
    "b: 1\na: [1, 2\n": (2, "the [ in line 2 is not closed before line 3"),
    'a: "x\nb: 2\n': (1, "the quote in line 1 is never closed"),
    "a: 1\nb\nc: 2\n": (2, "line 2 is no `key: value`"),
    "a: @x\n": (1, "no value begins with @. Put the value in quotes"),
    "a: b: c\n": (1, "Put the whole value in quotes"),
    "a: *x\n": (1, "a value that begins with *"),
    "a: 1\nb: ]\n": (2, "a bracket is closed that was not opened"),
}
JARGON = ("block", "mapping values", "token", "scalar", "flow", "anchor", "alias", "stream", "node")


@pytest.mark.parametrize("text", YAML_FAULTS)
def test_a_file_that_is_no_yaml_is_told_by_its_line_and_what_to_do(project: GoodProject, text: str) -> None:
    line, said = YAML_FAULTS[text]
    project.write({"recipes/served.yaml": text})
    with pytest.raises(SettingsError) as refused:
        project.check()
    told = str(refused.value)
    assert told.startswith(f"recipes/served.yaml:{line}: found no valid YAML, but ")
    assert said in told
    assert not [word for word in JARGON if word in told.partition(", but ")[2]]

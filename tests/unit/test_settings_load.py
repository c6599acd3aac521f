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

"""Read cluster file, recipe and image description into frozen models; refuse what does not fit, all at once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from .cluster import Cluster
from .image import Image
from .model import Settings
from .problems import Problem, SettingsError
from .recipe import Recipe

DEFAULT_CLUSTER = "lab"
PROJECT = Path(__file__).resolve().parents[2]

Model = TypeVar("Model", bound=Settings)
Tree = dict[str, Any]


@dataclass(frozen=True)
class Loaded:
    """The three files that describe a cluster, with the names they were read from (relative to the project)."""

    project: Path
    cluster: Cluster
    cluster_file: str
    recipe: Recipe
    recipe_file: str
    image: Image
    image_file: str


def cluster_name() -> str:
    """Name of the cluster in question: `GX10_CLUSTER`, or the lab."""
    return os.environ.get("GX10_CLUSTER") or DEFAULT_CLUSTER


def load(name: str | None = None, project: Path = PROJECT) -> Loaded:
    """Load a cluster by name with its recipe and image; raises SettingsError with every problem found."""
    cluster_tree, cluster_file = _tree(project, "clusters", name or cluster_name(), "", "GX10_CLUSTER")
    problems: list[Problem] = []
    cluster = _validated(Cluster, cluster_tree, cluster_file, problems)
    wanted = cluster_tree.get("recipe")
    recipe: Recipe | None = None
    image: Image | None = None
    recipe_file = image_file = ""
    if isinstance(wanted, str):
        try:
            recipe, recipe_file = load_recipe(wanted, project, named_by=cluster_file)
            image, image_file = _load_image(recipe, recipe_file, cluster_tree.get("images"), project)
        except SettingsError as error:
            problems.extend(error.problems)
    if cluster is not None and cluster.name != Path(cluster_file).stem:
        problems.append(
            Problem(
                cluster_file,
                "name",
                repr(cluster.name),
                "a cluster is named after its file",
                f"Write {Path(cluster_file).stem!r}.",
            )
        )
    if problems or cluster is None or recipe is None or image is None:
        raise SettingsError(problems)
    return Loaded(project, cluster, cluster_file, recipe, recipe_file, image, image_file)


def load_recipe(name: str, project: Path = PROJECT, named_by: str = "") -> tuple[Recipe, str]:
    """Load a recipe by name, with the one it extends merged below it; returns it with its file's name."""
    tree, file = _tree(project, "recipes", name, named_by, "recipe")
    seen = [file]
    while isinstance(extends := (tree.get("gx10") or {}).get("extends"), str):
        below, below_file = _tree(project, "recipes", extends, file, "gx10.extends")
        if below_file in seen:
            raise SettingsError(
                [
                    Problem(
                        file,
                        "gx10.extends",
                        repr(extends),
                        f"recipes extend each other in a circle: {' -> '.join([*seen, below_file])}",
                        "Let one of them stand alone.",
                    )
                ]
            )
        seen.append(below_file)
        above = {**tree, "gx10": {key: value for key, value in tree["gx10"].items() if key != "extends"}}
        tree = _merged(below, above)
    problems: list[Problem] = []
    recipe = _validated(Recipe, tree, file, problems)
    if recipe is None:
        raise SettingsError(problems)
    return recipe, file


def _load_image(recipe: Recipe, recipe_file: str, chosen: object, project: Path) -> tuple[Image, str]:
    name = chosen.get(recipe.container, recipe.container) if isinstance(chosen, dict) else recipe.container
    tree, file = _tree(project, "images", str(name), recipe_file, "container")
    problems: list[Problem] = []
    image = _validated(Image, tree, file, problems)
    if image is None:
        raise SettingsError(problems)
    return image, file


def _merged(below: Tree, above: Tree) -> Tree:
    """Keys of `above` replace those of `below`; mappings join, key by key."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = _merged(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged


class _UniqueKeys(yaml.SafeLoader):
    """YAML without its worst trap: a key given twice silently keeps the last value."""


def _unique_mapping(loader: _UniqueKeys, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen: set[object] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=deep)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
        seen.add(key)
    return dict(loader.construct_mapping(node, deep=deep))


_UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def _tree(project: Path, kind: str, name: str, named_by: str, key: str) -> tuple[Tree, str]:
    """The mapping in `kind`/`name`.yaml and that file's name, relative to the project."""
    file = f"{kind}/{name}.yaml"
    path = project / file
    if "/" in name or not path.is_file():
        there = ", ".join(sorted(found.stem for found in (project / kind).glob("*.yaml"))) or "none"
        raise SettingsError(
            [Problem(named_by or "environment", key, repr(name), f"{file} does not exist", f"Choose one of: {there}.")]
        )
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        told = " ".join(str(error).split())
        raise SettingsError([Problem(file, "", "no valid YAML", told, "Correct the file at that place.")]) from error
    if not isinstance(tree, dict):
        raise SettingsError(
            [Problem(file, "", type(tree).__name__, "the file must hold a mapping of keys", "See docs/settings.md.")]
        )
    return tree, file


def _validated(model: type[Model], tree: Tree, file: str, problems: list[Problem]) -> Model | None:
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        for detail in error.errors():
            key = ".".join(str(part) for part in detail["loc"])
            found = "nothing" if detail["type"] == "missing" else repr(detail["input"])
            if detail["type"] == "extra_forbidden":
                rule, remedy = "there is no such key", "Remove it or see docs/settings.md for the keys there are."
            else:
                rule, remedy = detail["msg"][0].lower() + detail["msg"][1:], "See docs/settings.md for what fits."
            problems.append(Problem(file, key, found, rule, remedy))
        return None

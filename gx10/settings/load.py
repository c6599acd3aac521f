"""Read cluster file, recipe and image description into frozen models; refuse what does not fit, all at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import TypeVar

from .base import Settings
from .cluster import Cluster
from .image import Image
from .problems import Problem, SettingsError
from .recipe import Recipe
from .source import SourceError, Tree, read_mapping
from .validation import validated

DEFAULT_CLUSTER = "lab"
PROJECT = Path(__file__).resolve().parents[2]
MARK = "DEPLOYED_COPY"
"""File at the top of the copy of the project that stands on the reconciler's host, and of no other."""

Model = TypeVar("Model", bound=Settings)
#: For a file as it was asked for: where each key really stands (a recipe may extend another), by dotted key.
Places = Mapping[str, tuple[str, int]]

LONGEST_NAME = 100
"""Letters of a file's name, without its ending."""


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

    @property
    def is_copy(self) -> bool:
        """Whether this is the reconciler's copy. What lies on the owner's own node, such as its archive of images, is
        described there as well, and is none of the copy's business."""
        return (self.project / MARK).is_file()


@dataclass
class Draft:
    """What could be read of a description, and every problem met on the way."""

    project: Path
    cluster: Cluster | None = None
    cluster_file: str = ""
    recipe: Recipe | None = None
    recipe_file: str = ""
    image: Image | None = None
    image_file: str = ""
    problems: list[Problem] = field(default_factory=list)
    places: dict[str, Places] = field(default_factory=dict)

    def located(self, problem: Problem) -> Problem:
        """The problem with the file and line where its key, or the nearest key above it, stands."""
        places, key = self.places.get(problem.file, {}), problem.key
        while key and key not in places:
            key = key.rpartition(".")[0]
        file, line = places.get(key, (problem.file, 0))
        return replace(problem, file=file, line=problem.line or line)

    def loaded(self) -> Loaded:
        """The complete description; raises SettingsError with every problem noted."""
        if self.problems or self.cluster is None or self.recipe is None or self.image is None:
            raise SettingsError(self.located(problem) for problem in self.problems)
        return Loaded(
            self.project,
            self.cluster,
            self.cluster_file,
            self.recipe,
            self.recipe_file,
            self.image,
            self.image_file,
        )


def cluster_name() -> str:
    """Name of the cluster in question: `GX10_CLUSTER`, or the lab."""
    return os.environ.get("GX10_CLUSTER") or DEFAULT_CLUSTER


def load(name: str | None = None, project: Path = PROJECT) -> Loaded:
    """Load a cluster by name with its recipe and image; raises SettingsError with every problem found.

    It judges each file by itself. The rules that span files and the engine's command build on what it loads.
    """
    return read(name, project).loaded()


def read(name: str | None = None, project: Path = PROJECT, instead: str | None = None) -> Draft:
    """Read a cluster by name with its recipe and image as far as they can be read; never raises.

    `instead` is a recipe to serve in place of the one that the cluster file names.
    """
    draft = Draft(project)
    wanted = name or cluster_name()
    tree, draft.cluster_file = _tree(draft, "clusters", wanted, ("environment", "GX10_CLUSTER"))
    if tree is None:
        return draft
    if instead:
        tree["recipe"] = instead
    draft.cluster = validated(Cluster, tree, draft.cluster_file, draft.problems)
    if draft.cluster is not None and draft.cluster.name != wanted:
        rule = "a cluster is named after its file"
        draft.problems.append(Problem(draft.cluster_file, "name", repr(draft.cluster.name), rule, f"Write {wanted!r}."))
    recipe = tree.get("recipe")
    if isinstance(recipe, str):
        _read_recipe(draft, recipe, ("command line", "recipe") if instead else (draft.cluster_file, "recipe"))
    if draft.recipe is not None:
        chosen = tree.get("images")
        replaced = isinstance(chosen, dict) and draft.recipe.container in chosen
        container = str(chosen[draft.recipe.container]) if replaced and chosen else draft.recipe.container
        named_by = (draft.cluster_file, "images") if replaced else (draft.recipe_file, "container")
        _read_image(draft, container, named_by)
    return draft


def load_image(name: str, project: Path = PROJECT) -> tuple[Image, str]:
    """Load an image description by name, with the one it extends below it; returns it with its file's name."""
    draft = Draft(project)
    _read_image(draft, name, ("command line", "image"))
    if draft.image is None:
        raise SettingsError(draft.located(problem) for problem in draft.problems)
    return draft.image, draft.image_file


def load_recipe(name: str, project: Path = PROJECT, named_by: str = "") -> tuple[Recipe, str]:
    """Load a recipe by name, with the one it extends merged below it; returns it with its file's name."""
    draft = Draft(project)
    _read_recipe(draft, name, (named_by or "environment", "recipe"))
    if draft.recipe is None:
        raise SettingsError(draft.located(problem) for problem in draft.problems)
    return draft.recipe, draft.recipe_file


def _read_recipe(draft: Draft, name: str, named_by: tuple[str, str]) -> None:
    tree, draft.recipe_file = _extended(draft, "recipes", name, named_by)
    if tree is not None:
        draft.recipe = validated(Recipe, tree, draft.recipe_file, draft.problems)


def _read_image(draft: Draft, name: str, named_by: tuple[str, str]) -> None:
    tree, draft.image_file = _extended(draft, "images", name, named_by)
    if tree is not None:
        draft.image = validated(Image, tree, draft.image_file, draft.problems)


def _extended(draft: Draft, kind: str, name: str, named_by: tuple[str, str]) -> tuple[Tree | None, str]:
    """The mapping in a file with those that it extends below it, each file's own keys on top."""
    tree, file = _tree(draft, kind, name, named_by)
    # A recipe keeps what spark-vllm-docker does not know under one key.
    key = "gx10.extends" if kind == "recipes" else "extends"
    seen, layers = [file], [tree] if tree is not None else []
    while layers and isinstance(extends := _extends(layers[-1], key), str):
        below, below_file = _tree(draft, kind, extends, (seen[-1], key))
        if below is None:
            return None, file
        if below_file in seen:
            circle = " -> ".join([*seen, below_file])
            rule = f"{kind} extend each other in a circle: {circle}"
            draft.problems.append(Problem(file, key, repr(extends), rule, "Let one of them stand alone."))
            return None, file
        seen.append(below_file)
        layers.append(below)
        draft.places[file] = {**draft.places[below_file], **draft.places[file]}
    # From the lowest up: what one of them removes stays removed for those above it alone.
    plain = [_without_extends(layer, key) for layer in reversed(layers)]
    return (reduce(_merged, plain) if plain else None), file


def _extends(tree: Tree, key: str) -> object:
    return (_own_part(tree) if key.startswith("gx10.") else tree).get("extends")


def _without_extends(tree: Tree, key: str) -> Tree:
    if _extends(tree, key) is None:
        return tree
    if key == "extends":
        return {name: value for name, value in tree.items() if name != "extends"}
    return {**tree, "gx10": {name: value for name, value in _own_part(tree).items() if name != "extends"}}


def _own_part(tree: Tree) -> Tree:
    part = tree.get("gx10")
    return part if isinstance(part, dict) else {}


def _merged(below: Tree, above: Tree) -> Tree:
    """Keys of `above` replace those of `below`; mappings join, key by key, and null removes what is below."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if value is None and key in merged:
            del merged[key]
        else:
            merged[key] = _merged(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged


def _tree(draft: Draft, kind: str, name: str, named_by: tuple[str, str]) -> tuple[Tree | None, str]:
    """The mapping in `kind`/`name`.yaml and that file's name, relative to the project; notes what is wrong."""
    file = f"{kind}/{name[:LONGEST_NAME]}.yaml"
    path = draft.project / file
    there = [found.stem for found in (draft.project / kind).glob("*.yaml") if found.is_file()]
    if name not in there:
        found, rule = repr(name), f"{file} does not exist"
        if len(name) > LONGEST_NAME:
            found, rule = f"{name[:20]!r}… of {len(name)} letters", f"a name has at most {LONGEST_NAME}"
        elif path.is_dir():
            rule = f"{file} is a directory"
        remedy = f"Choose one of: {_names(there)}."
        if name.removesuffix(".yaml") in there:
            remedy = f"Write {name.removesuffix('.yaml')!r}: the name alone."
        draft.problems.append(Problem(*named_by, found, rule, remedy))
        return None, file
    try:
        tree, lines = read_mapping(path)
    except SourceError as error:
        draft.problems.append(Problem(file, "", error.found, error.rule, error.remedy, line=error.line))
        return None, file
    draft.places[file] = {key: (file, line) for key, line in lines.items()}
    return tree, file


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"

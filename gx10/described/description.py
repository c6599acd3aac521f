"""One cluster as described: its settings, checked, with the command, environment and image that follow from them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar, cast

from gx10.engine.checked import Checked, check
from gx10.settings import PROJECT, Cluster, Image, Loaded, Recipe, SettingsError, cluster_name
from gx10.settings.problems import Problem
from gx10.settings.recipe import Model

from .image_inputs import ImageInputs, PinError, image_inputs

GIB = 2**30
P = ParamSpec("P")
R = TypeVar("R")
STAGED = "GX10_STAGED_RECIPE"
"""Environment variable: the recipe that `gx10 serve` stages. What is served never goes by it."""


@dataclass(frozen=True)
class Description:
    """Everything that shapes the hosts of one cluster. Two equal descriptions configure equal hosts."""

    checked: Checked
    inputs: ImageInputs
    _worked_out: dict[object, object] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What `once` keeps: a description is frozen, so what follows from it alone is worked out once for all hosts."""

    @property
    def loaded(self) -> Loaded:
        """The files that describe the cluster."""
        return self.checked.loaded

    @property
    def argv(self) -> tuple[str, ...]:
        """The engine's command line, word by word."""
        return self.checked.argv

    @property
    def environment(self) -> Mapping[str, str]:
        """The engine's environment, in order."""
        return self.checked.environment

    @property
    def gpus(self) -> int:
        """GPUs that the engine needs: its world size."""
        return self.checked.command.world_size

    @property
    def port(self) -> int:
        """Port of the engine's API on the head."""
        return self.checked.port

    @property
    def served_name(self) -> str:
        """The name that clients ask for."""
        return self.checked.served_name

    @property
    def budget_gib(self) -> float | None:
        """Memory budget per host in GiB, where the recipe's command gives it in GiB."""
        return self.checked.budget_gib

    @property
    def project(self) -> Path:
        """Directory of the project."""
        return self.loaded.project

    @property
    def cluster(self) -> Cluster:
        """The cluster file."""
        return self.loaded.cluster

    @property
    def recipe(self) -> Recipe:
        """The recipe that is served."""
        return self.loaded.recipe

    @property
    def image(self) -> Image:
        """The image description."""
        return self.loaded.image

    @property
    def image_reference(self) -> str:
        """Name and tag of the image; the tag is the digest of its inputs."""
        return f"{self.image.name}:{self.inputs.digest[:12]}"

    def image_policy(self, reference: str, **changes: object) -> dict[str, object]:
        """What shall stay of images where `reference` is described: what a host's `gx10-host images` reads."""
        paths, retention = self.cluster.paths, self.cluster.retention
        limit = retention.archive_gib
        policy: dict[str, object] = {
            "described": reference,
            "keep_previous": retention.keep_previous,
            "keep_archives": retention.keep_archives,
            "archive_bytes": None if limit is None else int(limit * GIB),
            "cache_bytes": int(retention.build_cache_gib * GIB),
            "archive": str(paths.archive),
            "builds": str(paths.state / "build"),
            "used": str(paths.state / "images-used.json"),
            "docker": True,
        }
        return policy | changes

    @property
    def local_url(self) -> str:
        """URL of the engine's API on the head itself."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def weights(self) -> Model:
        """The weights that are served."""
        if self.recipe.gx10.model is None:
            raise ValueError(f"{self.loaded.recipe_file} passed its checks without gx10.model")
        return self.recipe.gx10.model

    @property
    def model_directory(self) -> str:
        """Directory of the served weights on every host."""
        return str(self.cluster.paths.model_root / self.weights.path)


def once(work: Callable[Concatenate[Description, P], R]) -> Callable[Concatenate[Description, P], R]:
    """Work out once what follows from a description alone, and from arguments that say for which host.

    Never what also depends on files that a run writes. Nobody changes what is handed out.
    """

    @wraps(work)
    def kept(description: Description, *args: P.args, **kwargs: P.kwargs) -> R:
        key = (work, args, *sorted(kwargs.items()))
        known: dict[object, R] = description._worked_out  # type: ignore[assignment]
        if key not in known:
            known[key] = work(description, *args, **kwargs)
        return known[key]

    return cast(Callable[Concatenate[Description, P], R], kept)


@cache
def describe(name: str, project: Path = PROJECT, recipe: str | None = None) -> Description:
    """Load and check a cluster's description; raises SettingsError with every problem, before any host is contacted.

    `recipe` is served in place of the one that the cluster file names.
    """
    checked = check(name, project, recipe)
    try:
        inputs = image_inputs(checked.loaded.image, project)
    except FileNotFoundError as error:
        missing = str(Path(error.filename).relative_to(project))
        file = checked.loaded.image_file
        problem = Problem(file, "", missing, "there is no such file", "Correct the name in the image file.")
        raise SettingsError([problem]) from error
    except PinError as error:
        remedy = "Lock again with `gx10 images lock NAME`."
        raise SettingsError([Problem(error.file, "", "this lock", str(error), remedy)]) from error
    return Description(checked, inputs)


def described_by_environment(recipe: str | None = None) -> Description:
    """The cluster that GX10_CLUSTER names, or the lab; with another recipe than its file names, where one is given."""
    return describe(cluster_name(), recipe=recipe)


def described_to_stage() -> Description:
    """The described cluster with the recipe that is about to be served, which its file does not name yet."""
    return described_by_environment(os.environ.get(STAGED) or None)

"""The description that loaded last, kept on this node for what only reads while an edit is broken."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gx10_host.write.whole import write_whole
from pydantic import BaseModel

from gx10.control_node import state_directory
from gx10.described.description import Description
from gx10.described.image_inputs import ImageInputs
from gx10.engine.checked import Checked
from gx10.engine.vllm.catalogue import catalogue
from gx10.engine.vllm.flags import parse
from gx10.engine.vllm.mods import added_flags
from gx10.settings import PROJECT, Cluster, Image, Loaded, Recipe, cluster_name

FILE = "description.json"
"""Below what this node keeps of a cluster."""


class Stored(BaseModel):
    """A description as it stands in that file."""

    cluster: Cluster
    cluster_file: str
    recipe: Recipe
    recipe_file: str
    image: Image
    image_file: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    inputs: str

    @classmethod
    def of(cls, description: Description) -> Stored:
        """A description as it is kept: what hosts are asked by, without the build's context."""
        loaded = description.loaded
        return cls(
            cluster=loaded.cluster,
            cluster_file=loaded.cluster_file,
            recipe=loaded.recipe,
            recipe_file=loaded.recipe_file,
            image=loaded.image,
            image_file=loaded.image_file,
            argv=description.argv,
            environment=dict(description.environment),
            inputs=description.inputs.digest,
        )

    def description(self, project: Path) -> Description:
        """The description, of a project."""
        loaded = Loaded(
            project, self.cluster, self.cluster_file, self.recipe, self.recipe_file, self.image, self.image_file
        )
        command = parse(self.argv, catalogue().with_flags(added_flags(self.recipe.mods)))
        return Description(Checked(loaded, self.argv, self.environment, command), ImageInputs({}, self.inputs))


@dataclass(frozen=True)
class Kept:
    """A description as it was kept, and when."""

    description: Description
    when: datetime


def keep(description: Description) -> None:
    """Keep a description, where it is not kept already."""
    text = Stored.of(description).model_dump_json(exclude_unset=True)
    try:
        path = state_directory(description.cluster.name) / FILE
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_whole(path, text.encode(), mode=0o600)
    except OSError:  # a full disk, or a home that is read only: no command fails for this
        return


def last(name: str | None = None, project: Path = PROJECT) -> Kept | None:
    """The kept description of a cluster; nothing where there is none that this version can read."""
    cluster = name or cluster_name()
    if cluster not in {found.stem for found in (project / "clusters").glob("*.yaml")}:
        return None
    try:
        path = state_directory(cluster) / FILE
        stored = Stored.model_validate_json(path.read_text(encoding="utf-8"))
        return Kept(stored.description(project), datetime.fromtimestamp(path.stat().st_mtime).astimezone())
    except (OSError, ValueError):
        return None

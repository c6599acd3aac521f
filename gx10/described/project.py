"""What "the description" is: every file that shapes the hosts, and one digest over all of them.

A difference on a host whose description is still the one last applied was made by somebody on that host.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml

from gx10.settings import Cluster, Image
from gx10.settings.load import MARK

from . import watch_files
from .description import Description, once
from .generation import digest

PARTS = ("gx10", "tasks", "deploys", "templates", "files", "recipes", "images", "tests/nodes")
"""Directories of the project that a deploy reads."""
APART = ("gx10/bench", "gx10/lab")
"""What is in them and no deploy reads: it measures, or stands for hosts. A file of it that the image names counts."""
FILES = ("deploy.py", "inventory.py", "config.py", "pyproject.toml", "tests/__init__.py")

MARK_TEXT = b"Deploys write this copy of the project: what is changed here is put back. Edit it where you deploy.\n"


@cache
def _project_files(project: Path, named: frozenset[str]) -> dict[str, bytes]:
    return {name: (project / name).read_bytes() for name in sorted({*_names(project), *named})}


@once
def project_files(description: Description) -> dict[str, bytes]:
    """Every file of the project that a deploy of this cluster reads, by its path.

    What the node that deploys needs to log in stands apart from what it deploys: `access` is left out. The reconciler's
    copy goes by its archive: a file that somebody changed there describes nothing.
    """
    if archive := _archive(description):
        files = watch_files.files_in(archive)
        own = {MARK, *watch_files.distribution(description.project)}
        files = {name: text for name, text in files.items() if name not in own}
    else:
        files = _project_files(description.project, _named_by(description.image))
    return {
        **files,
        description.loaded.cluster_file: cluster_text(description.cluster, None),
    }


@once
def deployed_files(description: Description) -> dict[str, bytes]:
    """The project as it stands on the reconciler's host, which logs in with a key of its own."""
    if archive := _archive(description):
        return watch_files.files_in(archive)
    own = cluster_text(description.cluster, watch_files.access())
    files = {**project_files(description), description.loaded.cluster_file: own, MARK: MARK_TEXT}
    return files | watch_files.distribution(description.project)


@once
def project_archive(description: Description) -> bytes:
    """The same in one file."""
    return _archive(description) or watch_files.archived(deployed_files(description))


def _archive(description: Description) -> bytes:
    """The archive that the reconciler's copy stands beside; nothing elsewhere, and where somebody removed it."""
    path = Path(f"{description.project}.zip")
    return path.read_bytes() if description.loaded.is_copy and path.is_file() else b""


def cluster_text(cluster: Cluster, access: dict[str, object] | None) -> bytes:
    """The cluster file, word for word what its owner set, with other access or without any."""
    settings = cluster.model_dump(mode="json", exclude={"access"}, exclude_unset=True)
    if access is not None:
        settings["access"] = access
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True).encode()


@once
def description_digest(description: Description) -> str:
    """16 hex digits over everything described."""
    files = project_files(description)
    return digest({name: hashlib.sha256(text).hexdigest() for name, text in files.items()})


def revision(project: Path) -> str:
    """The checkout's revision, with `-dirty` where files differ from it; nothing where there is no checkout or no git,
    as on the hosts."""
    try:
        done = subprocess.run(
            ["git", "-C", str(project), "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def applied_file(description: Description) -> tuple[str, bytes]:
    """Where the head keeps which description was applied last, and what stands there once this one is."""
    told = {"description": description_digest(description)}
    return f"{description.cluster.paths.state}/applied.json", (json.dumps(told) + "\n").encode()


def _named_by(image: Image) -> frozenset[str]:
    """Files of the project that an image is pinned by, wherever they lie."""
    names = {image.requirements, image.lock}
    return frozenset(names | ({image.variant.requirements, image.variant.lock} if image.variant else set()))


def _names(project: Path) -> Iterator[str]:
    yield from FILES
    for part in PARTS:
        for path in (project / part).rglob("*"):
            name = path.relative_to(project).as_posix()
            if name.startswith(tuple(f"{part}/" for part in APART)):
                continue
            if path.is_file() and not _made_by_running(path.relative_to(project)):
                yield name


def _made_by_running(path: Path) -> bool:
    """Whether a file is byte code, a library or a tool's cache: nothing that is described, wherever it lies."""
    return (
        "__pycache__" in path.parts
        or any(part.startswith(".") for part in path.parts)
        or path.suffix in {".pyc", ".so"}
    )

"""The files of this node that logging in takes: refused where they are missing, before any host is asked."""

from __future__ import annotations

from pathlib import Path

from gx10.described.description import Description
from gx10.settings import Problem, SettingsError

from .login import project_path

LAB = Path(".lab")
"""Directory of the lab below the project."""


def missing_files(description: Description) -> None:
    """Raise SettingsError with every file below `access` that is named and that this user cannot read.

    Without its ssh configuration, a login would go to the addresses as they stand, on whatever network has them.
    """
    access, file = description.cluster.access, description.loaded.cluster_file
    named = {"access.ssh_config": access.ssh_config, "access.key": access.key, "access.known_hosts": access.known_hosts}
    problems = [
        Problem(file, key, repr(str(path)), fault, _remedy(path))
        for key, path in named.items()
        if path is not None and (fault := _fault(project_path(description, path)))
    ]
    if problems:
        raise SettingsError(problems)


def _fault(path: Path) -> str:
    """What is wrong with a file that a login needs; nothing where it can be read."""
    try:
        with path.open("rb"):
            return ""
    except FileNotFoundError:
        return "there is no such file on this node"
    except OSError as error:
        return f"it cannot be read here: {error.strerror}"


def _remedy(path: Path) -> str:
    if path.is_relative_to(LAB):
        return "It is the lab's: run `gx10 lab up`, or name your own cluster in GX10_CLUSTER."
    return "Correct the path: absolute, with ~, or relative to the project."

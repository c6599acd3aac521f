"""What the reconciler's host holds: the project as it was deployed, an environment to run it, units and a command."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gx10_host import ENTRY

from .authorized import COMMENT
from .description import Description
from .entries import File
from .host_files import UNITS
from .templates import render
from .units import unit_words

USER = "gx10-reconcile"
HOME = "/var/lib/gx10-reconcile"
KEY = f"{HOME}/.ssh/id_ed25519"
ROOT = "/opt/gx10"
PROJECT = f"{ROOT}/project"
KNOWN_HOSTS = f"{ROOT}/known_hosts"
ARCHIVE = f"{PROJECT}.zip"
"""The project as it was deployed, in one file: what stands in its directory is put back from it before each run."""
RESTORED = f"{ROOT}/restored.json"
"""What was put back and no run has told yet."""
RESTORE, RESTORES = (ENTRY, "project"), "night.project"
"""The command that puts it back, and its module in the hosts' package."""
COMMAND = f"{ROOT}/bin/gx10"
SERVICE, FAILED, TIMER = "gx10-reconcile.service", "gx10-reconcile-failed.service", "gx10-reconcile.timer"
OWN_UNITS = (SERVICE, FAILED, TIMER)
LOCK = "gx10/reconcile/requirements.lock"


def node(description: Description) -> str:
    """The host that runs the reconciler."""
    return description.cluster.reconcile.node or description.cluster.head


def comment(description: Description) -> str:
    """What tells the reconciler's key from others in authorized_keys."""
    return f"{COMMENT}{description.cluster.name}"


def environment(description: Description) -> tuple[str, str]:
    """Directory of the environment, named by its lock, and the lock's digest."""
    digest = hashlib.sha256((description.project / LOCK).read_bytes()).hexdigest()
    return f"{ROOT}/env-{digest[:12]}", digest


def access() -> dict[str, object]:
    """How the reconciler logs in, whatever the description's own node does."""
    return {"user": "root", "key": KEY, "known_hosts": KNOWN_HOSTS}


def restore_words(archive: bytes) -> tuple[str, ...]:
    """The command that brings the project's directory to an archive's content."""
    digest = hashlib.sha256(archive).hexdigest()
    return (*RESTORE, "--archive", ARCHIVE, "--sha256", digest, "--to", PROJECT)


def watch_files(description: Description, archive: bytes) -> tuple[File, ...]:
    """Units, command and the archive of the project."""
    cluster = description.cluster
    settings = cluster.reconcile
    values: dict[str, object] = {
        "cluster": cluster.name,
        "user": USER,
        "root": PROJECT,
        "state": HOME,
        "command": COMMAND,
        "restore": " ".join((*restore_words(archive), "--note", RESTORED)),
        "environment": environment(description)[0],
        "metrics": str(settings.metrics),
        "hook": " ".join(unit_words(settings.hook)),
        "timeout_seconds": settings.timeout_seconds,
        "calendar": settings.calendar,
        "zone": settings.time_zone,
        "spread_seconds": settings.spread_seconds,
    }
    units = [File(f"{UNITS}/{unit}", render(description.project, f"{UNITS}/{unit}", **values)) for unit in OWN_UNITS]
    command = File(COMMAND, render(description.project, COMMAND, **values), "755")
    return (*units, command, File(ARCHIVE, archive))


def archived(files: Mapping[str, bytes]) -> bytes:
    """The project in one file, the same bytes wherever it is made."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for name, text in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name), text)
    return made.getvalue()


def files_in(archive: bytes) -> dict[str, bytes]:
    """Contents of an archive by name."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def distribution(project: Path) -> dict[str, bytes]:
    """What makes the project's connector known to pyinfra, as an installation would."""
    version = next(
        line.split('"')[1]
        for line in (project / "pyproject.toml").read_text(encoding="utf-8").splitlines()
        if line.startswith("version =")
    )
    root = f"gx10-{version}.dist-info"
    return {
        f"{root}/METADATA": f"Metadata-Version: 2.1\nName: gx10\nVersion: {version}\n".encode(),
        f"{root}/entry_points.txt": b"[pyinfra.connectors]\ngx10 = gx10.operations.loop.connector:Gx10Connector\n",
    }


def watch_question(description: Description, host: str) -> dict[str, Any]:
    """What is asked about the reconciler on a host."""
    here = description.cluster.reconcile.enabled and host == node(description)
    return {
        "user": USER,
        "key": KEY,
        "login": description.cluster.access.user,
        "comment": comment(description),
        "environment": environment(description)[0] if here else "",
        "project": PROJECT if here else "",
        "restored": RESTORED if here else "",
    }

"""Where a removal may take place at all, and what of it is in use by whatever runs on this host."""

from __future__ import annotations

import json
import os
import pathlib
import pwd
import re
import time
from collections.abc import Mapping
from typing import Any

from gx10_host.content.manifest import Wrong
from gx10_host.disk import mount_points
from gx10_host.image.docker import answered

SYSTEM = (
    "", "bin", "boot", "dev", "etc", "lib", "opt", "proc", "run", "sbin", "srv", "sys", "tmp", "usr", "var", "var/lib",
)  # fmt: skip
"""Directories of the system's own, none of which is a model root."""


def fenced(policy: Mapping[str, Any]) -> pathlib.Path:
    """The root as it physically is; one that cannot be a model root is refused."""
    given = pathlib.Path(policy["root"])
    root = given.resolve()
    homes = {pathlib.Path(user.pw_dir).resolve() for user in pwd.getpwall()} | {
        pathlib.Path("/home"),
        pathlib.Path("/root"),
    }
    system = {pathlib.Path(f"/{name}") for name in SYSTEM}
    if root in system or root in homes or any(root in home.parents for home in homes):
        raise Wrong(
            f"{given} is {root}, which is no directory of models. Correct paths.model_root in the cluster file."
        )
    if not root.is_dir():
        raise Wrong(f"{given} does not exist on this host. Run the deploy.")
    if policy.get("mount") and root not in mount_points():
        raise Wrong(f"{given} is not a mount point, and models.mount says that it is one. Mount the partition first.")
    return root


def mounts_below(root: pathlib.Path) -> set[pathlib.Path]:
    """Mount points strictly below the root."""
    return {path for path in mount_points() if root in path.parents}


def docker(*words: str) -> str:
    """What Docker answers; one that does not leaves unknown what is served."""
    unknown = "Nobody knows what is served until it does."
    try:
        return answered(*words)
    except Wrong as error:
        raise Wrong(f"{error} {unknown}") from None


def in_use(root: pathlib.Path) -> set[pathlib.Path]:
    """Paths below the root that the command of a running container names through one of its mounts."""
    used = set()
    running = docker("ps", "--quiet", "--no-trunc").split()
    for told in json.loads(docker("container", "inspect", *running)) if running else ():
        words = [*(told.get("Args") or ()), *(told["Config"].get("Cmd") or ()), *(told["Config"].get("Env") or ())]
        for mount in told.get("Mounts") or ():
            source, target = (
                pathlib.Path(mount.get("Source") or "/dev/null"),
                (mount.get("Destination") or "").rstrip("/"),
            )
            if source != root and root not in source.parents and source not in root.parents:
                continue
            if root in source.parents:
                used.add(source.relative_to(root))  # Mounted by itself, so used as a whole.
                continue
            for word in words:
                for match in re.finditer(re.escape(target) + r"/([^\s'\",:=]+)", word) if target else ():
                    path = pathlib.Path(os.path.normpath(source / match[1]))
                    if root in path.parents:
                        used.add(path.relative_to(root))
    return used


def oldest_image() -> float:
    """When the oldest image on this host was made, in seconds; 0 where there is none, and nothing can be said."""
    identifiers = docker("image", "ls", "--quiet", "--no-trunc").split()
    if not identifiers:
        return 0.0
    made = docker("image", "inspect", "--format", "{{.Created}}", *sorted(set(identifiers))).split("\n")
    return min(time.mktime(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) for text in made if text.strip())

"""Images and containers: argv[0] is JSON {"images": [reference], "containers": [name]}; prints one JSON object.

Identity of an image is its layers and configuration; `.Id` differs between storage drivers for equal content.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

# What the daemon says of a name that it does not have; "no such file" of a missing socket is something else.
ABSENT = re.compile(r"^(error( response from daemon)?: )?no such (image|container|object): ", re.IGNORECASE)


def inspect(kind: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """What `docker KIND inspect` says of those names that exist; a dead daemon is an error, never an absence."""
    if not names:
        return []
    try:
        done = subprocess.run(
            ["docker", kind, "inspect", *names], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        sys.exit(f"docker {kind} inspect: {error}")
    complaints = [line for line in done.stderr.splitlines() if line.strip() and not ABSENT.match(line)]
    if done.returncode and (complaints or not done.stderr.strip()):
        sys.exit(f"docker {kind} inspect: {' '.join(complaints) or f'status {done.returncode}'}")
    told: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return told


def names_of(found: Mapping[str, Any]) -> set[str]:
    """Every reference under which an image can be asked for."""
    tags = found.get("RepoTags") or []
    untagged = [tag.removesuffix(":latest") for tag in tags]
    return {*tags, *untagged, *(found.get("RepoDigests") or []), found["Id"]}


def image(found: Mapping[str, Any]) -> dict[str, Any]:
    settings = found.get("Config") or {}
    kept = {key: settings.get(key) for key in ("Env", "Cmd", "Entrypoint", "WorkingDir", "User", "Labels")}
    return {
        "id": found["Id"],
        "layers": found["RootFS"].get("Layers") or [],
        "labels": settings.get("Labels") or {},
        "config": hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest(),
        "size": found.get("Size", 0),
        "tags": found.get("RepoTags") or [],
    }


def container(found: Mapping[str, Any]) -> dict[str, Any]:
    settings, host = found["Config"], found.get("HostConfig") or {}
    pairs = (entry.partition("=") for entry in settings.get("Env") or [])
    return {
        "command": settings.get("Cmd") or [],
        "environment": {name: hashlib.sha256(value.encode()).hexdigest() for name, _, value in pairs},
        "binds": sorted(host.get("Binds") or []),
        "privileged": bool(host.get("Privileged")),
        "capabilities": sorted(word.removeprefix("CAP_") for word in host.get("CapAdd") or []),
        "running": found["State"]["Running"],
        "status": found["State"]["Status"],
        "started": found["State"]["StartedAt"],
        "labels": found["Config"].get("Labels") or {},
        "image": found["Config"]["Image"],
        "image_id": found["Image"],
    }


def main(argv: Sequence[str]) -> int:
    asked = json.loads(argv[0])
    wanted = asked.get("images", [])
    images = {}
    for found in inspect("image", wanted):
        for name in wanted:
            if name in names_of(found):
                images[name] = image(found)
    containers = {
        found["Name"].lstrip("/"): container(found) for found in inspect("container", asked.get("containers", []))
    }
    # What an image brings itself: a running container keeps it, whatever became of the tag.
    for found in inspect("image", sorted({one["image_id"] for one in containers.values()})):
        pairs = [entry.partition("=") for entry in (found.get("Config") or {}).get("Env") or []]
        for one in containers.values():
            if one["image_id"] == found["Id"]:
                one["image_labels"] = (found.get("Config") or {}).get("Labels") or {}
                own = {name: hashlib.sha256(value.encode()).hexdigest() for name, _, value in pairs}
                one["image_environment"] = own
    print(
        json.dumps(
            {
                "images": {name: images.get(name) for name in wanted},
                "containers": {name: containers.get(name) for name in asked.get("containers", [])},
            }
        )
    )
    return 0

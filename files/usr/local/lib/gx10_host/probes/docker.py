"""Images and containers: argv[0] is JSON {"images": [reference], "containers": [name]}; prints one JSON object.

Identity of an image is its layers and configuration; `.Id` differs between storage drivers for equal content.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from gx10_host.content.manifest import Wrong
from gx10_host.image.docker import PROBED_SECONDS, inspect


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


def held(wanted: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """Images by the reference, and containers by the name, that they were asked for by; None of what is not there."""
    images = {}
    for found in inspect("image", wanted, PROBED_SECONDS):
        for name in wanted:
            if name in names_of(found):
                images[name] = image(found)
    containers = {found["Name"].lstrip("/"): container(found) for found in inspect("container", names, PROBED_SECONDS)}
    # What an image brings itself: a running container keeps it, whatever became of the tag.
    for found in inspect("image", sorted({each["image_id"] for each in containers.values()}), PROBED_SECONDS):
        pairs = [entry.partition("=") for entry in (found.get("Config") or {}).get("Env") or []]
        for each in containers.values():
            if each["image_id"] == found["Id"]:
                each["image_labels"] = (found.get("Config") or {}).get("Labels") or {}
                own = {name: hashlib.sha256(value.encode()).hexdigest() for name, _, value in pairs}
                each["image_environment"] = own
    return {
        "images": {name: images.get(name) for name in wanted},
        "containers": {name: containers.get(name) for name in names},
    }


def main(argv: Sequence[str]) -> int:
    asked = json.loads(argv[0])
    try:
        print(json.dumps(held(asked.get("images", []), asked.get("containers", []))))
    except Wrong as error:
        sys.exit(str(error))
    return 0

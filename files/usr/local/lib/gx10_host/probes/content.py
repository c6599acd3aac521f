"""What is stored: argv[0] is JSON, prints one JSON object. All that is asked is optional:

`archive` is the archive directory, `image` the file name of an image's manifest in it, `model` a directory of weights;
`root` the model root, `cache` the ORG/NAME of a hub's cache there, `source` a directory to copy from, `secret` a file.
A file counts as proven when size and modification time are those recorded when its hash was last checked.
"""

from __future__ import annotations

import json
import os
import pathlib
import stat
from collections.abc import Sequence
from typing import Any

from gx10_host.content.landing import allocated
from gx10_host.content.manifest import MANIFEST, PARTIAL, Wrong, digest_of_manifest, read_manifest
from gx10_host.content.proof import Proof
from gx10_host.disk import free_bytes


def stored(root: pathlib.Path, manifest_file: pathlib.Path) -> dict[str, Any] | None:
    """What a manifest says; one that is none says as little as one that is absent."""
    try:
        manifest = read_manifest(manifest_file)
    except (Wrong, OSError):
        manifest = None
    if manifest is None:
        return None
    proof = Proof(root)
    wrong = [entry for entry in manifest["files"] if not proof.holds(entry)]
    return {
        "digest": digest_of_manifest(manifest),
        "files": len(manifest["files"]),
        "bytes": sum(entry["size"] for entry in manifest["files"]),
        "unproven": [entry["path"] for entry in wrong],
        "missing_bytes": sum(max(0, entry["size"] - allocated(root / (entry["path"] + PARTIAL))) for entry in wrong),
        "source": manifest.get("source"),
        "layers": manifest.get("layers"),
    }


def bytes_in(directory: pathlib.Path, sizes: bool = False) -> int | None:
    """Bytes of the files below a directory: on the disk, or as they are long; None where it does not exist."""
    if not directory.is_dir():
        return None
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            try:
                found = pathlib.Path(parent, name).stat()
            except OSError:
                continue
            total += found.st_size if sizes else found.st_blocks * 512
    return total


def cached(root: pathlib.Path, name: str) -> int:
    """Bytes of a repository in the hub caches of the model root, which can stand under a second name."""
    repository = "models--" + name.replace("/", "--")
    return max(bytes_in(root / cache / repository / "blobs") or 0 for cache in ("", "hub"))


def main(argv: Sequence[str]) -> int:
    asked = json.loads(argv[0])
    told: dict[str, Any] = {}
    if asked.get("archive"):
        archive = pathlib.Path(asked["archive"])
        told["archive"] = stored(archive, archive / "images" / asked["image"])
        told["archive_files"] = sum(len(list((archive / part).glob("*"))) for part in ("images", "blobs/sha256"))
    if asked.get("model"):
        model = pathlib.Path(asked["model"])
        told["model"] = stored(model, model / MANIFEST)
    if asked.get("root"):
        root = pathlib.Path(asked["root"])
        told["free"] = free_bytes(root)
        told["present"] = bytes_in(model) or 0
        told["cached"] = cached(root, asked["cache"]) if asked.get("cache") else 0
        told["source_bytes"] = bytes_in(pathlib.Path(asked["source"]), sizes=True) if asked.get("source") else None
    if asked.get("secret"):
        secret = pathlib.Path(asked["secret"])
        told["secret"] = f"{stat.S_IMODE(secret.stat().st_mode):o}" if secret.is_file() else None
    print(json.dumps(told))
    return 0

"""Manifests of large content, and the small JSON files that stand beside it.

A manifest is JSON {"name", "files": [{"path", "size", "sha256"}], ...}; paths are relative to the directory it is for.
Whatever wrote it, it is not trusted: a path that leads out of that directory is refused before anything is touched.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import re

from gx10_host.exits import DAMAGED, FAILED

MANIFEST = ".gx10-manifest.json"
PROVEN = ".gx10-proven.json"
PARTIAL = ".partial"
RECEIVED = ".received"
SHA256 = re.compile(r"[0-9a-f]{64}")


class Wrong(Exception):
    """Content that cannot be trusted or had; a sentence for the operator."""

    status = FAILED


class Damaged(Wrong):
    """Content that was looked at and is not what its manifest says: an answer, and no failure to get one."""

    status = DAMAGED


def read_json(path, default=None):
    """What a JSON file holds, or the default where no file is."""
    try:
        return json.loads(pathlib.Path(path).read_bytes())
    except FileNotFoundError:
        return default
    except ValueError as error:
        raise Wrong(f"{path} is no JSON ({error}). Remove it and run again.") from None


def write_json(path, value):
    """Write a file whole: a partial name, synced, renamed."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL)
    partial.unlink(missing_ok=True)
    with partial.open("w", encoding="ascii") as target:
        json.dump(value, target, sort_keys=True)
        target.flush()
        os.fsync(target.fileno())
    partial.rename(path)
    sync_directory(path.parent)


def sync_directory(path):
    """Make the names in a directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_manifest(path):
    """A checked manifest, or None where no file is."""
    told = read_json(path)
    return None if told is None else checked(told, path)


def digest_of_manifest(manifest):
    """What tells two manifests apart, whenever they were made; the control node computes the same."""
    told = {key: value for key, value in manifest.items() if key != "archived"}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def checked(told, origin):
    """The manifest itself, once every entry is one that may be written below a directory."""
    if not isinstance(told, dict) or not isinstance(told.get("name"), str) or not isinstance(told.get("files"), list):
        raise Wrong(f"{origin} is no manifest: it lacks a name or files. Remove it and run again.")
    seen = set()
    for entry in told["files"]:
        if fault := fault_of(entry) or (f"{entry['path']!r} twice" if entry["path"] in seen else ""):
            raise Wrong(f"The manifest {origin} names {fault}. Nothing was touched; make the manifest anew.")
        seen.add(entry["path"])
    for path in seen:
        if above := seen.intersection(str(parent) for parent in pathlib.PurePosixPath(path).parents):
            raise Wrong(f"The manifest {origin} names {above.pop()!r} as a file and {path!r} below it.")
    return told


def fault_of(entry):
    """What is wrong with an entry of a manifest, in words; nothing when it is sound."""
    if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
        return f"{entry!r}, which has no path"
    name, size, digest = entry["path"], entry.get("size"), entry.get("sha256")
    if fault := fault_of_path(name):
        return fault
    if type(size) is not int or size < 0:
        return f"{name!r} with size {size!r}, expected a number of bytes"
    if not isinstance(digest, str) or not SHA256.fullmatch(digest):
        return f"{name!r} with sha256 {digest!r}, expected 64 hexadecimal digits"
    return ""


def fault_of_path(name):
    path = pathlib.PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        return f"{name!r}, which leads out of its directory"
    if not path.name or str(path) != name or "\0" in name:
        return f"{name!r}, which is no plain relative path"
    if reserved(name):
        return f"{name!r}, a name that unfinished transfers use"
    return ""


def reserved(name):
    """Whether a relative path is one that this program itself writes beside content."""
    return name in (MANIFEST, PROVEN) or unfinished(name)


def unfinished(name):
    """Whether a name is one under which a transfer is under way."""
    return name.endswith((PARTIAL, RECEIVED))


def safe(root, relative):
    """The path below the root that a manifest names; a link on the way that leads out is refused."""
    path = root / relative
    if pathlib.PurePosixPath(relative).is_absolute() or ".." in pathlib.PurePosixPath(relative).parts:
        raise Wrong(f"The manifest names {relative!r}, which leads out of {root}. Make the manifest anew.")
    if not path.parent.resolve().is_relative_to(root.resolve()):
        raise Wrong(f"{path.parent} is a link that leads out of {root}. Remove the link and run again.")
    return path

"""Manifests of large content, and the small JSON files that stand beside it.

A manifest is JSON {"name", "files": [{"path", "size", "sha256"}], ...}; paths are relative to the directory it is for.
Whatever wrote it, it is not trusted: a path that leads out of that directory is refused before anything is touched.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any, TypedDict

from gx10_host.exits import DAMAGED, FAILED
from gx10_host.write.whole import write_whole

MANIFEST = ".gx10-manifest.json"
PROVEN = ".gx10-proven.json"
PARTIAL = ".partial"
RECEIVED = ".received"
SHA256 = re.compile(r"[0-9a-f]{64}")


class Wanted(TypedDict):
    """A file that shall be brought: its path below a directory, and its bytes."""

    path: str
    size: int


class Entry(Wanted):
    """The same with the hash that proves it."""

    sha256: str


def proven(entry: Wanted, sha256: str) -> Entry:
    """The entry of a file whose hash is known now."""
    return {"path": entry["path"], "size": entry["size"], "sha256": sha256}


Manifest = dict[str, Any]
"""What `checked` let through: a name, files, which are entries, and what else belongs to the content."""


class Wrong(Exception):
    """Content that cannot be trusted or had; a sentence for the operator."""

    status = FAILED


class Damaged(Wrong):
    """Content that was looked at and is not what its manifest says: an answer, and no failure to get one."""

    status = DAMAGED


def read_json(path: str | pathlib.Path, default: Any = None) -> Any:
    """What a JSON file holds, or the default where no file is."""
    try:
        return json.loads(pathlib.Path(path).read_bytes())
    except FileNotFoundError:
        return default
    except ValueError as error:
        raise Wrong(f"{path} is no JSON ({error}). Remove it and run again.") from None


def write_json(path: str | pathlib.Path, value: object) -> None:
    """Write a JSON file whole, under the partial name that all content has."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, sort_keys=True).encode("ascii")
    write_whole(path, text, partial=path.with_name(path.name + PARTIAL))


def read_manifest(path: str | pathlib.Path) -> Manifest | None:
    """A checked manifest, or None where no file is."""
    told = read_json(path)
    return None if told is None else checked(told, path)


def digest_of_manifest(manifest: Mapping[str, Any]) -> str:
    """What tells two manifests apart, whenever they were made; the control node computes the same."""
    told = {key: value for key, value in manifest.items() if key != "archived"}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def checked(told: object, origin: object) -> Manifest:
    """The manifest itself, once every entry is one that may be written below a directory."""
    if not isinstance(told, dict) or not isinstance(told.get("name"), str) or not isinstance(told.get("files"), list):
        raise Wrong(f"{origin} is no manifest: it lacks a name or files. Remove it and run again.")
    seen: set[str] = set()
    for entry in told["files"]:
        if fault := fault_of(entry) or (f"{entry['path']!r} twice" if entry["path"] in seen else ""):
            raise Wrong(f"The manifest {origin} names {fault}. Nothing was touched; make the manifest anew.")
        seen.add(entry["path"])
    for path in seen:
        if above := seen.intersection(str(parent) for parent in pathlib.PurePosixPath(path).parents):
            raise Wrong(f"The manifest {origin} names {above.pop()!r} as a file and {path!r} below it.")
    return told


def fault_of(entry: object) -> str:
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


def fault_of_path(name: str) -> str:
    path = pathlib.PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        return f"{name!r}, which leads out of its directory"
    if not path.name or str(path) != name or "\0" in name:
        return f"{name!r}, which is no plain relative path"
    if reserved(name):
        return f"{name!r}, a name that unfinished transfers use"
    return ""


def reserved(name: str) -> bool:
    """Whether a relative path is one that this program itself writes beside content."""
    return name in (MANIFEST, PROVEN) or unfinished(name)


def unfinished(name: str) -> bool:
    """Whether a name is one under which a transfer is under way."""
    return name.endswith((PARTIAL, RECEIVED))


def safe(root: pathlib.Path, relative: str) -> pathlib.Path:
    """The path below the root that a manifest names; a link on the way that leads out is refused."""
    path = root / relative
    if pathlib.PurePosixPath(relative).is_absolute() or ".." in pathlib.PurePosixPath(relative).parts:
        raise Wrong(f"The manifest names {relative!r}, which leads out of {root}. Make the manifest anew.")
    if not path.parent.resolve().is_relative_to(root.resolve()):
        raise Wrong(f"{path.parent} is a link that leads out of {root}. Remove the link and run again.")
    return path

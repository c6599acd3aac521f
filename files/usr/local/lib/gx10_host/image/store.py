"""An archive of images on a host: layers stored once by their content, an image as a manifest over them.

An archive is blobs/sha256/HASH and, last of all, images/NAME.json: a manifest that also holds the image's
layers and, as "stream", the tar stream that `docker load` takes: names over stored files. A layer is stored compressed:
"unpacked" is then its size in the stream, in bytes.
"""

from __future__ import annotations

import pathlib

from gx10_host.content.manifest import PARTIAL, RECEIVED, Entry, Manifest, Wrong, read_manifest, safe
from gx10_host.content.proof import Proof
from gx10_host.write.whole import sync_directory

BLOBS = "blobs/sha256"


def manifest_path(root: pathlib.Path, image: str) -> pathlib.Path:
    if pathlib.PurePath(image).name != image or not image.endswith(".json"):
        raise Wrong(f"--image {image!r} is no file name that ends in .json.")
    return root / "images" / image


def archived(root: pathlib.Path, image: str) -> Manifest | None:
    """The checked manifest of an archived image, or None."""
    manifest = read_manifest(manifest_path(root, image))
    return None if manifest is None else described(manifest, f"images/{image} in {root}")


def described(manifest: Manifest, origin: str) -> Manifest:
    """The manifest itself, once it describes an image that can be loaded."""
    stored = {entry["path"] for entry in manifest["files"]}
    stream, layers = manifest.get("stream"), manifest.get("layers")
    items = stream if isinstance(layers, list) and isinstance(stream, list) else [None]
    if not all(
        isinstance(item, dict) and isinstance(item.get("name"), str) and item.get("path") in stored for item in items
    ):
        raise Wrong(f"{origin} describes no image. Remove it and run the deploy again.")
    return manifest


def layer_name(layer: str) -> str:
    """Name of a layer in the stream of `docker save`: its digest, uncompressed."""
    return f"{BLOBS}/{layer.removeprefix('sha256:')}"


def needed(manifest: Manifest, present: int) -> tuple[list[Entry], set[str]]:
    """Entries of an image's files without those that only serve its lowest `present` layers."""
    layers = [layer_name(layer) for layer in manifest["layers"]]
    spared = set(layers[:present]) - set(layers[present:])
    paths = {item["path"] for item in manifest["stream"] if item["name"] not in spared}
    return [entry for entry in manifest["files"] if entry["path"] in paths], spared


def others(root: pathlib.Path, but: pathlib.Path | None = None) -> list[Manifest]:
    """Every other manifest of the archive; one that cannot be read stops whoever wants to remove files."""
    found = (read_manifest(path) for path in sorted((root / "images").glob("*.json")) if path != but)
    return [manifest for manifest in found if manifest is not None]


def dropped(root: pathlib.Path, image: str) -> int:
    """Remove an image's manifest and the files that no other manifest names; the bytes that this frees."""
    path = manifest_path(root, image)
    manifest = archived(root, image)
    if manifest is None:
        return 0
    others(root, path)
    path.unlink()
    sync_directory(path.parent)
    return forget(root, manifest)


def forget(root: pathlib.Path, manifest: Manifest | None) -> int:
    """Remove the files of a manifest that is gone which no other manifest names; the bytes that this frees."""
    if manifest is None:
        return 0
    kept = {entry["path"] for other in others(root) for entry in other["files"]}
    freed = 0
    for entry in manifest["files"]:
        if entry["path"] not in kept:
            path = safe(root, entry["path"])
            freed += size_of(path)
            path.unlink(missing_ok=True)
    Proof(root).save()
    return freed


def strays(root: pathlib.Path) -> list[pathlib.Path]:
    """Files of the archive that no manifest names: what a run left behind that nobody finished."""
    kept = {entry["path"] for manifest in others(root) for entry in manifest["files"]}
    blobs = [path for path in sorted((root / BLOBS).glob("*")) if f"{BLOBS}/{path.name}" not in kept]
    return blobs + [path for path in sorted((root / "images").glob("*")) if path.name.endswith((PARTIAL, RECEIVED))]


def cleared(root: pathlib.Path) -> None:
    """Empty an archive that only served to bring an image: also what a run left behind that nobody finished."""
    for directory in (root / "images", root / BLOBS):
        for path in sorted(directory.glob("*")):
            if not path.is_dir() or path.is_symlink():
                path.unlink()
    Proof(root).save()


def size_of(path: pathlib.Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0

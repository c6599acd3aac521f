"""An image into the archive: each layer stored once, compressed, under the hash of what is stored."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import hashlib
import json
import os
import pathlib
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Iterable
from typing import IO, Any, Self

from gx10_host.content.landing import alone_in, own_file
from gx10_host.content.manifest import (
    PARTIAL,
    Entry,
    Manifest,
    Wrong,
    read_json,
    read_manifest,
    write_json,
)
from gx10_host.content.proof import BLOCK, Progress, Proof, in_parallel
from gx10_host.write.whole import sync_directory

from .docker import heard, image_layers, image_size, piped
from .gc import room
from .layers import Layers, Unreadable
from .store import BLOBS, forget, layer_name, manifest_path, others

INDEXES = ("index.json", "manifest.json", "oci-layout", "repositories")
"""What `docker save` writes beside blobs since Docker 25; before, layers had names of their own."""
COMPRESS_FROM = 1 << 16
"""Bytes from which a layer is compressed: below, a process costs more than it saves."""


Held = tuple[dict[str, Any], Entry]
"""A name in the stream of an image, and the stored file that it stands for."""


def save(arguments: argparse.Namespace) -> None:
    """Archive an image; a layer that is there already is neither read nor written again."""
    root = pathlib.Path(arguments.archive)
    with alone_in(root):
        layers = image_layers(arguments.reference)
        if layers is None:
            raise Wrong(f"Docker has no image {arguments.reference} to archive. Run the deploy to have it built.")
        stored = Stored(root)
        known = sum(stored.unpacked(layer_name(layer)) for layer in set(layers))
        room(root, arguments.reference, image_size(arguments.reference) - known)
        (root / BLOBS).mkdir(parents=True, exist_ok=True)
        manifest: Manifest = {"name": arguments.reference, "layers": layers, "archived": now()}
        try:
            manifest |= read(root, Layers(arguments.reference), stored)
        except Unreadable as reason:
            print(f"archive {arguments.reference}: {reason}; asking docker save", flush=True)
            manifest |= saved(root, arguments.reference, stored)
        stored.proof.save()
        sync_directory(root / BLOBS)
        if saved_layers(root, manifest) != layers:
            raise Wrong(f"{arguments.reference} became another image while it was archived. Run again.")
        path = manifest_path(root, arguments.image)
        try:
            older = read_manifest(path)
        except Wrong:  # Whatever stands there names nothing that could be removed.
            older = None
        write_json(path, manifest)
        forget(root, older)


def read(root: pathlib.Path, image: Layers, stored: Stored) -> dict[str, Any]:
    """Store the layers of an image from where Docker keeps them; the names in a stream, and what they stand for."""
    config = f"{BLOBS}/{hashlib.sha256(image.config).hexdigest()}"
    names = [layer_name(layer) for layer in image.digests]
    told = [{"Config": config, "RepoTags": [image.reference], "Layers": names}]
    lacking = {layer for layer in image.digests if not stored.holding(layer_name(layer))}
    progress = Progress(f"archive {image.reference}", sum(image.size(layer) for layer in lacking))
    taken: dict[str, Held] = {}

    def take_layer(layer: str) -> None:
        try:
            taken[layer] = store(root, layer_name(layer), image.stream(layer), stored, progress, pack=True)
        except Wrong as fault:  # Docker itself has the last word on what it holds.
            raise Unreadable(str(fault)) from None

    in_parallel(take_layer, sorted(lacking, key=image.size, reverse=True))
    progress.finish()
    small = Progress("", 0, unheard=True)
    items = [store(root, config, [image.config], stored, small)]
    items += [taken.get(layer) or stored.held(layer_name(layer)) for layer in dict.fromkeys(image.digests)]
    items.append(store(root, "manifest.json", [json.dumps(told).encode()], stored, small))
    entries = {entry["path"]: entry for _, entry in items}
    return {"files": [entries[path] for path in sorted(entries)], "stream": [item for item, _ in items]}


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


class Stored:
    """Layers that the archive holds already, by their name in the stream, and whether they are proven."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root, self.proof = root, Proof(root)
        self.items: dict[str, tuple[dict[str, Any], Entry | None]] = {}
        for manifest in others(root):
            entries = {entry["path"]: entry for entry in manifest["files"]}
            for item in manifest.get("stream") or []:
                self.items[item["name"]] = (item, entries.get(item["path"]))

    def holding(self, name: str) -> Held | None:
        """The item and the entry of a layer whose file is proven, or None."""
        item, entry = self.items.get(name, ({}, None))
        return (item, entry) if entry and self.proof.holds(entry) else None

    def held(self, name: str) -> Held:
        """The same of a layer that was proven a moment ago."""
        item, entry = self.items[name]
        if entry is None:
            raise Wrong(f"{self.root} names no file for {name}. Run again.")
        return item, entry

    def unpacked(self, name: str) -> int:
        """Bytes of a layer that need not be written again."""
        held = self.holding(name)
        return held[0].get("unpacked", held[1]["size"]) if held else 0


def saved(root: pathlib.Path, reference: str, stored: Stored) -> dict[str, Any]:
    """Split the stream of `docker save` into stored files; the names in the stream, and what they stand for."""
    stream, entries = list[dict[str, Any]](), dict[str, Entry]()
    progress = Progress(f"archive {reference}", image_size(reference))
    with tempfile.TemporaryFile() as said:
        docker = subprocess.Popen(["docker", "save", reference], stdout=subprocess.PIPE, stderr=said)
        try:
            with tarfile.open(fileobj=docker.stdout, mode="r|", bufsize=BLOCK) as members:
                for member in members:
                    if member.isdir():
                        continue
                    if not member.isfile() or not (member.name in INDEXES or member.name.startswith(f"{BLOBS}/")):
                        raise Wrong(
                            f"docker save wrote {member.name!r}, which is not the layout of Docker 25 or newer. "
                            "Update Docker on this host."
                        )
                    item, entry = take(root, member, piped(members.extractfile(member)), stored, progress)
                    entries[entry["path"]] = entry
                    stream.append(item)
            broken = ""
        except tarfile.TarError as error:
            broken = f"its stream broke off ({error})"
        finally:
            piped(docker.stdout).close()
            status = docker.wait()
        if broken or status:
            raise Wrong(f"docker save {reference} ended with status {status}: {heard(said) or broken}. Run again.")
    progress.finish()
    return {"files": [entries[path] for path in sorted(entries)], "stream": stream}


def take(root: pathlib.Path, member: tarfile.TarInfo, source: IO[bytes], stored: Stored, progress: Progress) -> Held:
    """Store one file of the stream of `docker save`."""
    blocks = iter(lambda: source.read(BLOCK), b"")
    return store(root, member.name, blocks, stored, progress, pack=member.size >= COMPRESS_FROM)


def store(
    root: pathlib.Path, name: str, blocks: Iterable[bytes], stored: Stored, progress: Progress, *, pack: bool = False
) -> Held:
    """Store content by its hash, compressed where asked; a blob's name in the stream must be its content's hash."""
    named = name.rpartition("/")[2] if name not in INDEXES else ""
    held = stored.holding(name) if named else None
    partial = root / BLOBS / f"{named or name}{PARTIAL}"
    if not held:
        own_file(partial)
    sink = Sink(None) if held else Packed(partial) if named and pack else Sink(partial)
    digest, size = hashlib.sha256(), 0
    with sink:
        for block in blocks:
            digest.update(block)
            sink.write(block)
            size += len(block)
            progress.add(len(block))
    found = digest.hexdigest()
    if named and named != found:
        sink.discard()
        raise Wrong(f"Docker holds {name} with sha256 {found}: its store is damaged. Build the image anew.")
    if held:
        return held
    stands_for = sink.digest.hexdigest()
    entry: Entry = {"path": f"{BLOBS}/{stands_for}", "size": sink.size, "sha256": stands_for}
    partial.rename(root / entry["path"])
    stored.proof.record(entry, sink.written)
    item: dict[str, Any] = {"name": name, "path": entry["path"]}
    return (item | {"unpacked": size} if isinstance(sink, Packed) else item), entry


class Sink:
    """A partial file that is hashed while it is written; without a path, bytes are only counted off."""

    def __init__(self, path: pathlib.Path | None) -> None:
        self.path, self.digest, self.size, self.written = path, hashlib.sha256(), 0, 0
        self.file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        self.file = self.path.open("wb") if self.path else None
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.file:
            with self.file:
                if kind is None:
                    self.file.flush()
                    os.fsync(self.file.fileno())
                    self.written = os.fstat(self.file.fileno()).st_mtime_ns

    def write(self, block: bytes) -> None:
        if self.file:
            self.digest.update(block)
            self.file.write(block)
            self.size += len(block)

    def discard(self) -> None:
        if self.path:
            self.path.unlink(missing_ok=True)


class Packed(Sink):
    """A partial file that zstd writes; what is hashed is what is stored."""

    def __enter__(self) -> Self:
        super().__enter__()
        # Level 1 on all cores: layers of an engine shrink to less than a half, faster than a disk could take the whole.
        words = ["zstd", "-q", "-1", "-T0", "-c"]
        try:
            self.zstd = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except FileNotFoundError:
            raise Wrong("There is no zstd on this host. Run the deploy, which installs it.") from None
        self.failure: OSError | None = None
        self.pump = threading.Thread(target=self._pump)
        self.pump.start()
        return self

    def _pump(self) -> None:
        try:
            while block := piped(self.zstd.stdout).read(BLOCK):
                super().write(block)
        except OSError as error:  # A full disk, told to whoever writes.
            self.failure = error
            self.zstd.kill()

    def write(self, block: bytes) -> None:
        try:
            piped(self.zstd.stdin).write(block)
        except BrokenPipeError:
            self.pump.join()
            raise self.failure or Wrong("zstd ended early. Run again.") from None

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            self.zstd.kill()
        with contextlib.suppress(BrokenPipeError):
            piped(self.zstd.stdin).close()
        self.pump.join()
        piped(self.zstd.stdout).close()
        status = self.zstd.wait()
        super().__exit__(kind, *rest)
        if kind is None and (self.failure or status):
            raise self.failure or Wrong(f"zstd ended with status {status}. Run again.")


def saved_layers(root: pathlib.Path, manifest: Manifest) -> list[str]:
    """Layers that the saved image itself names in its configuration."""
    paths = {item["name"]: root / item["path"] for item in manifest["stream"]}
    images = read_json(paths["manifest.json"]) if "manifest.json" in paths else []
    if len(images) != 1 or images[0].get("Config") not in paths:
        raise Wrong(f"docker save of {manifest['name']} wrote no manifest of one image. Update Docker on this host.")
    layers: list[str] = read_json(paths[images[0]["Config"]])["rootfs"]["diff_ids"]
    return layers

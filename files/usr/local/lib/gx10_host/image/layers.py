"""Layers of an image as Docker's overlay2 keeps them, read where they lie.

`docker save` copies every layer of an image to a temporary directory before it sends the first byte, also those that
an archive has had for months. For each layer Docker keeps its files, and the headers of the tar that they came from in
`tar-split.json.gz`: lines of JSON, either bytes of the tar or the name of a file whose content goes here. Put together
they are that tar byte for byte, which its digest proves; where they are not, `docker save` is asked after all.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from gx10_host.content.manifest import Wrong
from gx10_host.content.proof import BLOCK

from .docker import docker_driver, docker_root, image_layers, inspected


class Unreadable(Exception):
    """Layers that do not lie where, or as, this module knows them."""


class Layers:
    """An image of the overlay2 store of this host."""

    def __init__(self, reference: str) -> None:
        if docker_driver() != "overlay2":
            raise Unreadable("Docker keeps its images in another store than overlay2")
        self.reference, self.root = reference, docker_root()
        digests = image_layers(reference)
        if digests is None:
            raise Wrong(f"Docker has no image {reference} to archive. Run the deploy to have it built.")
        self.digests = digests
        identity = inspected(reference, "{{.Id}}").removeprefix("sha256:")
        try:
            self.config = (self.root / "image/overlay2/imagedb/content/sha256" / identity).read_bytes()
        except OSError as error:
            raise Unreadable(str(error)) from None
        if hashlib.sha256(self.config).hexdigest() != identity:
            raise Unreadable("an image's configuration is not the one that its id names")
        self.places = dict(zip(self.digests, chains(self.digests), strict=True))

    def size(self, digest: str) -> int:
        """Bytes of the files of a layer."""
        return int(self._told(digest, "size"))

    def stream(self, digest: str) -> Iterator[bytes]:
        """The tar of a layer, block by block."""
        files = self.root / "overlay2" / self._told(digest, "cache-id") / "diff"
        try:
            with gzip.open(self._place(digest) / "tar-split.json.gz", "rb") as entries:
                for line in entries:
                    entry = json.loads(line)
                    if entry["type"] == 2:
                        yield base64.b64decode(entry.get("payload") or "")
                    elif entry.get("size"):
                        yield from content(files, entry)
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise Unreadable(f"layer {digest[7:19]}: {error}") from None

    def _place(self, digest: str) -> pathlib.Path:
        return self.root / "image/overlay2/layerdb/sha256" / self.places[digest]

    def _told(self, digest: str, what: str) -> str:
        try:
            return (self._place(digest) / what).read_text().strip()
        except OSError as error:
            raise Unreadable(str(error)) from None


def chains(digests: Sequence[str]) -> Iterator[str]:
    """Under which name Docker keeps each layer: the digest of it and all below it."""
    above = ""
    for digest in digests:
        above = f"sha256:{hashlib.sha256(f'{above} {digest}'.encode()).hexdigest()}" if above else digest
        yield above.removeprefix("sha256:")


def content(files: pathlib.Path, entry: dict[str, Any]) -> Iterator[bytes]:
    """The bytes of one file, as many as the tar's header promised."""
    name = base64.b64decode(entry["name_raw"]) if entry.get("name_raw") else os.fsencode(entry["name"])
    left = entry["size"]
    descriptor = os.open(files / os.fsdecode(name.lstrip(b"/")), os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb", buffering=0) as source:
        while left:
            block = source.read(min(left, BLOCK))
            if not block:
                raise Unreadable(f"{os.fsdecode(name)} is shorter than its layer says")
            left -= len(block)
            yield block

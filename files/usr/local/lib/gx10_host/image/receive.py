"""An image from another host's archive: the layers that neither Docker nor an earlier attempt has, proven, then loaded.

What lands here is a way station and is removed when Docker has the image. It is therefore not synced to the disk: after
a power cut it is hashed anew, and what did not survive is fetched again.
"""

from __future__ import annotations

import argparse
import pathlib
import time
from collections.abc import Sequence
from threading import Event

from gx10_host.content.landing import alone_in, held_of, land, note_transfer
from gx10_host.content.manifest import RECEIVED, Entry, checked, read_json
from gx10_host.content.proof import Progress, Proof, prove
from gx10_host.content.stream import Streams

from .load import load, present_layers
from .store import cleared, described, manifest_path, needed


def receive(arguments: argparse.Namespace) -> None:
    """Have another host's image in Docker."""
    root = pathlib.Path(arguments.archive)
    with alone_in(root):
        received = manifest_path(root, arguments.image).with_name(arguments.image + RECEIVED)
        received.parent.mkdir(parents=True, exist_ok=True)
        received.unlink(missing_ok=True)
        Streams(arguments.url).bring(f"images/{arguments.image}", None, received)
        manifest = described(checked(read_json(received), received), f"images/{arguments.image} at {arguments.url[0]}")
        entries, _ = needed(manifest, present_layers(manifest))
        brought, moved, seconds = fetched(root, manifest["name"], entries, arguments)
        started = time.monotonic()
        load(root, arguments.reference, manifest, proven=brought)
        cleared(root)
        if arguments.record:
            loaded = round(time.monotonic() - started, 2)
            note_transfer(arguments.record, manifest["name"], arguments.url, moved, seconds, load_seconds=loaded)


def fetched(
    root: pathlib.Path, name: str, entries: Sequence[Entry], arguments: argparse.Namespace
) -> tuple[set[str], int, float]:
    """Bring entries from the sender; the paths of all of them, which are proven now, bytes that moved, and seconds."""
    wrong = prove(root, name, entries)
    streams = Streams(arguments.url)

    def bring(entry: Entry, partial: pathlib.Path, progress: Progress, stopped: Event) -> tuple[Entry, str]:
        streams.stopped = stopped
        return entry, streams.bring(entry["path"], entry["size"], partial, progress)

    started, held = time.monotonic(), sum(held_of(root, entry) for entry in wrong)
    # In one order on every host, so that the sender reads each file from its disk once.
    land(root, name, sorted(wrong, key=lambda entry: entry["path"]), bring, Proof(root), durable=False)
    moved = sum(entry["size"] for entry in wrong) - held
    return {entry["path"] for entry in entries}, moved, time.monotonic() - started

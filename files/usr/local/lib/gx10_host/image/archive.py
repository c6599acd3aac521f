"""Image archives on a host: layers stored once by their content, an image as a manifest over them.

    gx10-host archive save REFERENCE --archive DIR --image NAME.json    docker save, split into blobs
    gx10-host archive load REFERENCE --archive DIR --image NAME.json    verified blobs back into Docker
    gx10-host archive receive REFERENCE … --url URL…                    what this host lacks, from another's share
    gx10-host archive verify --archive DIR                              hash everything; tell what is wrong
    gx10-host archive list --archive DIR                                images and bytes, as JSON
    gx10-host archive drop --archive DIR --image NAME.json              remove a manifest and the blobs only it named
    gx10-host archive clear --archive DIR                               remove all manifests and blobs, whole or partial

store.py says what an archive is, save.py how one comes about, load.py how Docker gets it back.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from collections.abc import Sequence

from gx10_host.content.landing import alone_in
from gx10_host.content.manifest import Damaged, Wrong
from gx10_host.content.proof import Proof, prove

from .load import load as load_archived
from .receive import receive
from .save import save
from .store import archived, cleared, dropped, others, size_of, strays


def load(arguments: argparse.Namespace) -> None:
    """Have an archived image in Docker."""
    root = pathlib.Path(arguments.archive)
    with alone_in(root):
        manifest = archived(root, arguments.image)
        if manifest is None:
            raise Wrong(f"{root} holds no archive {arguments.image}. Run the deploy again to fetch or build it.")
        load_archived(root, arguments.reference, manifest)


def verify(arguments: argparse.Namespace) -> None:
    """Hash every stored file; a damaged one is told by name with the images that need it."""
    root = pathlib.Path(arguments.archive)
    faults: list[str] = []
    with alone_in(root):
        for manifest in others(root):
            if wrong := prove(root, manifest["name"], manifest["files"], everything=True):
                names = ", ".join(entry["path"] for entry in wrong[:3])
                faults.append(f"{manifest['name']} lacks or has damaged {len(wrong)} files: {names}")
    if faults:
        raise Damaged(f"{root}: {'; '.join(faults)}. Run the deploy: they are made or fetched anew.")


def listed(arguments: argparse.Namespace) -> None:
    """Print what the archive holds as JSON: bytes of each image, and those that only it needs."""
    root = pathlib.Path(arguments.archive)
    manifests = others(root) if root.is_dir() else []
    proof, named = Proof(root), dict[str, int]()
    for manifest in manifests:
        for entry in manifest["files"]:
            named[entry["path"]] = named.get(entry["path"], 0) + 1
    images = [
        {
            "name": manifest["name"],
            "archived": manifest.get("archived", ""),
            "layers": manifest.get("layers"),
            "bytes": sum(entry["size"] for entry in manifest["files"]),
            "own_bytes": sum(entry["size"] for entry in manifest["files"] if named[entry["path"]] == 1),
            "unproven": sum(not proof.holds(entry) for entry in manifest["files"]),
        }
        for manifest in manifests
    ]
    left = strays(root) if root.is_dir() else []
    print(json.dumps({"images": images, "strays": sum(map(size_of, left))}))


def drop(arguments: argparse.Namespace) -> None:
    """Remove an image's manifest and the files that no other manifest names."""
    root = pathlib.Path(arguments.archive)
    if root.is_dir():
        with alone_in(root):
            dropped(root, arguments.image)


def clear(arguments: argparse.Namespace) -> None:
    """Empty an archive that only served to bring an image."""
    root = pathlib.Path(arguments.archive)
    with alone_in(root):
        cleared(root)


COMMANDS = {
    "save": (save, ("reference", "image")),
    "load": (load, ("reference", "image")),
    "receive": (receive, ("reference", "image", "url", "record")),
    "verify": (verify, ()),
    "list": (listed, ()),
    "drop": (drop, ("image",)),
    "clear": (clear, ()),
}


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, (run, wanted) in COMMANDS.items():
        command = commands.add_parser(name)
        command.add_argument("--archive", required=True)
        if "reference" in wanted:
            command.add_argument("reference")
        if "image" in wanted:
            command.add_argument("--image", required=True)
        if "url" in wanted:
            command.add_argument(
                "--url", required=True, nargs="+", help="the sender's archive, by each of its addresses"
            )
            command.add_argument("--record", help="a file that keeps the rates of the last transfers")
        command.set_defaults(run=run)
    arguments = parser.parse_args(argv)
    try:
        arguments.run(arguments)
    except (Wrong, OSError) as error:
        print(f"archive: {error}", file=sys.stderr)
        sys.exit(getattr(error, "status", 1))
    return 0

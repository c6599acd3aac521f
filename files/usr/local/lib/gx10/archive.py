#!/usr/bin/env python3
"""Image archives on a host: layers stored once by their hash, an image as a manifest over them.

    archive.py save REFERENCE --archive DIR --image NAME.json     docker save, split into blobs
    archive.py load REFERENCE --archive DIR --image NAME.json     verified blobs back into Docker
    archive.py drop --archive DIR --image NAME.json               remove a manifest and the blobs only it named
    archive.py clear --archive DIR                                remove every manifest and blob, whole or partial

An archive is blobs/sha256/HASH and, last of all, images/NAME.json: a manifest (manifest.py) that also holds the
image's layers and, as "stream", the tar stream that `docker load` takes: names over stored files.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile

from docker_image import docker_root, image_layers, image_size
from landing import alone_in, amount, own_file
from manifest import PARTIAL, Wrong, read_json, read_manifest, safe, sync_directory, write_json
from proof import BLOCK, Progress, Proof, prove

LOAD_SECONDS = 3600
BLOBS = "blobs/sha256"
INDEXES = ("index.json", "manifest.json", "oci-layout", "repositories")
"""What `docker save` writes beside blobs since Docker 25; before, layers had names of their own."""


def save(arguments):
    """Stream `docker save` into blobs; a blob that is there already is not written again."""
    root = pathlib.Path(arguments.archive)
    with alone_in(root):
        layers = image_layers(arguments.reference)
        if layers is None:
            raise Wrong(f"Docker has no image {arguments.reference} to archive. Run the deploy to have it built.")
        need = image_size(arguments.reference) - sum(stored_size(root, layer) for layer in layers)
        room(root, arguments.reference, need)
        manifest = {"name": arguments.reference, "layers": layers} | saved(root, arguments.reference)
        if saved_layers(root, manifest) != layers:
            raise Wrong(f"{arguments.reference} became another image while it was archived. Run again.")
        path = manifest_path(root, arguments.image)
        try:
            older = read_manifest(path)
        except Wrong:  # Whatever stands there names nothing that could be removed.
            older = None
        write_json(path, manifest)
        forget(root, older)


def saved(root, reference):
    """Split the stream of `docker save` into stored files; the names in the stream, and what they stand for."""
    proof, stream, entries = Proof(root), [], {}
    progress = Progress(f"archive {reference}", image_size(reference))
    (root / BLOBS).mkdir(parents=True, exist_ok=True)
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
                    entry = take(root, member, members.extractfile(member), proof, progress)
                    entries[entry["path"]] = entry
                    stream.append({"name": member.name, "path": entry["path"]})
            broken = ""
        except tarfile.TarError as error:
            broken = f"its stream broke off ({error})"
        finally:
            docker.stdout.close()
            status = docker.wait()
            proof.save()
        if broken or status:
            raise Wrong(f"docker save {reference} ended with status {status}: {heard(said) or broken}. Run again.")
    sync_directory(root / BLOBS)
    progress.finish()
    return {"files": [entries[path] for path in sorted(entries)], "stream": stream}


def take(root, member, source, proof, progress):
    """Store one file of the stream by its hash; a blob's name in the stream must be that hash."""
    digest, size = hashlib.sha256(), 0
    named = member.name.rpartition("/")[2] if member.name not in INDEXES else ""
    stored = {"path": f"{BLOBS}/{named}", "size": member.size, "sha256": named}
    there = bool(named) and proof.holds(stored)
    partial = root / BLOBS / f"{named or member.name}{PARTIAL}"
    own_file(partial)
    with pathlib.Path(os.devnull if there else partial).open("wb") as out:
        while block := source.read(BLOCK):
            digest.update(block)
            out.write(block)
            size += len(block)
            progress.add(len(block))
        out.flush()
        if not there:
            os.fsync(out.fileno())
            written = os.fstat(out.fileno()).st_mtime_ns
    found = digest.hexdigest()
    if named and named != found:
        partial.unlink(missing_ok=True)
        raise Wrong(f"docker save wrote {member.name} with sha256 {found}: Docker's store is damaged. Build it anew.")
    entry = {"path": f"{BLOBS}/{found}", "size": size, "sha256": found}
    if not there:
        partial.rename(root / entry["path"])
        proof.record(entry, written)
    return entry


def saved_layers(root, manifest):
    """Layers that the saved image itself names in its configuration."""
    paths = {item["name"]: root / item["path"] for item in manifest["stream"]}
    images = read_json(paths["manifest.json"]) if "manifest.json" in paths else []
    if len(images) != 1 or images[0].get("Config") not in paths:
        raise Wrong(f"docker save of {manifest['name']} wrote no manifest of one image. Update Docker on this host.")
    return read_json(paths[images[0]["Config"]])["rootfs"]["diff_ids"]


def load(arguments):
    """Verify every blob, stream them to `docker load` under a bound, then ask the daemon what it holds."""
    root = pathlib.Path(arguments.archive)
    with alone_in(root):
        manifest = archived(root, arguments.image)
        if manifest is None:
            raise Wrong(f"{root} holds no archive {arguments.image}. Run the deploy again to fetch or build it.")
        if wrong := prove(root, f"archive {arguments.reference}", manifest["files"]):
            names = ", ".join(entry["path"] for entry in wrong[:3])
            raise Wrong(
                f"The archive of {arguments.reference} is damaged at {names}. "
                "Run the deploy again: those files are fetched anew."
            )
        size = sum(entry["size"] for entry in manifest["files"])
        # Docker unpacks the whole stream beside its store before it takes the layers over.
        room(docker_root(), arguments.reference, 2 * size)
        status, said = streamed(root, manifest, Progress(f"load {arguments.reference}", size, unheard=True))
        if status:
            raise Wrong(
                f"docker load of {arguments.reference} ended with status {status}: {said or 'no message'}. "
                "If the next run fails too, restart docker.service: an interrupted load can wedge the daemon."
            )
        if (layers := image_layers(arguments.reference)) != manifest["layers"]:
            raise Wrong(
                f"After docker load {arguments.reference} has {len(layers or [])} layers that are not the archive's "
                f"{len(manifest['layers'])}. Run the deploy again; if it persists, remove {root / 'images'}/"
                f"{arguments.image} so that the image is built or fetched anew."
            )
        if arguments.then_drop:
            dropped(root, arguments.image)


def streamed(root, manifest, progress):
    """Send an archive to `docker load`; its status and what it said. A load begun is finished, heard or not."""
    with tempfile.TemporaryFile() as said:
        docker = subprocess.Popen(
            ["timeout", "--kill-after=10", str(LOAD_SECONDS), "docker", "load", "--quiet"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said,
        )  # fmt: skip
        broken = ""
        try:
            with tarfile.open(fileobj=docker.stdin, mode="w|", bufsize=BLOCK, copybufsize=BLOCK) as stream:
                for item in manifest["stream"]:
                    add(stream, safe(root, item["path"]), item["name"], progress)
            docker.stdin.close()
        except BrokenPipeError:
            broken = "it stopped reading"
        except BaseException:
            docker.terminate()  # Never let Docker take a stream that broke off for a whole one.
            raise
        finally:
            with contextlib.suppress(BrokenPipeError):
                docker.stdin.close()
            status = docker.wait()
        progress.finish()
        return status or (1 if broken else 0), heard(said) or broken


def add(stream, path, name, progress):
    member = tarfile.TarInfo(name)
    member.size = path.stat().st_size
    member.mode = 0o644

    class Counted:
        def __init__(self, source):
            self.source = source

        def read(self, count):
            block = self.source.read(count)
            progress.add(len(block))
            return block

    with path.open("rb", buffering=0) as source:
        stream.addfile(member, Counted(source))


def drop(arguments):
    """Remove an image's manifest and the files that no other manifest names."""
    root = pathlib.Path(arguments.archive)
    if not root.is_dir():
        return
    with alone_in(root):
        dropped(root, arguments.image)


def dropped(root, image):
    path = manifest_path(root, image)
    manifest = archived(root, image)
    if manifest is None:
        return
    others(root, path)
    path.unlink()
    sync_directory(path.parent)
    forget(root, manifest)


def forget(root, manifest):
    """Remove the files of a manifest that is gone which no other manifest names."""
    if manifest is None:
        return
    kept = {entry["path"] for other in others(root) for entry in other["files"]}
    for entry in manifest["files"]:
        if entry["path"] not in kept:
            safe(root, entry["path"]).unlink(missing_ok=True)
    Proof(root).save()


def clear(arguments):
    """Empty an archive that only served to bring an image: also what a run left behind that nobody finished."""
    root = pathlib.Path(arguments.archive)
    with alone_in(root):
        for directory in (root / "images", root / BLOBS):
            for path in sorted(directory.glob("*")):
                if not path.is_dir() or path.is_symlink():
                    path.unlink()
        Proof(root).save()


def others(root, but=None):
    """Every other manifest of the archive; one that cannot be read stops whoever wants to remove files."""
    return [read_manifest(path) for path in sorted((root / "images").glob("*.json")) if path != but]


def archived(root, image):
    """The checked manifest of an archived image, or None."""
    manifest = read_manifest(manifest_path(root, image))
    if manifest is None:
        return None
    stored = {entry["path"] for entry in manifest["files"]}
    stream, layers = manifest.get("stream"), manifest.get("layers")
    sound = isinstance(layers, list) and isinstance(stream, list) and all(isinstance(item, dict) for item in stream)
    if not sound or not all(isinstance(item.get("name"), str) and item.get("path") in stored for item in stream):
        raise Wrong(f"images/{image} in {root} describes no image. Remove it and run the deploy again.")
    return manifest


def manifest_path(root, image):
    if pathlib.PurePath(image).name != image or not image.endswith(".json"):
        raise Wrong(f"--image {image!r} is no file name that ends in .json.")
    return root / "images" / image


def stored_size(root, layer):
    try:
        return (root / BLOBS / layer.removeprefix("sha256:")).stat().st_size
    except OSError:
        return 0


def heard(said):
    said.seek(0)
    return " ".join(said.read(2000).decode(errors="replace").split())


def room(directory, reference, need):
    """Refuse before the first byte when an image does not fit."""
    have = shutil.disk_usage(directory).free
    if need > have:
        raise Wrong(
            f"{reference} needs {amount(need)} in {directory}, {amount(have)} are free, "
            f"{amount(need - have)} are missing. Remove old images by name (`docker image rm`), then run again."
        )


def main():
    sys.stdout.reconfigure(errors="backslashreplace")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, run in (("save", save), ("load", load), ("drop", drop)):
        command = commands.add_parser(name)
        if name != "drop":
            command.add_argument("reference")
        command.add_argument("--archive", required=True)
        command.add_argument("--image", required=True)
        if name == "load":
            command.add_argument("--then-drop", action="store_true")
        command.set_defaults(run=run)
    command = commands.add_parser("clear")
    command.add_argument("--archive", required=True)
    command.set_defaults(run=clear)
    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except (Wrong, OSError) as error:
        sys.exit(f"archive: {error}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Image archives on a host: layers stored once by their hash, an image as a manifest over them.

    archive.py save REFERENCE --archive DIR --image NAME.json     docker save, split into blobs
    archive.py load REFERENCE --archive DIR --image NAME.json     verified blobs back into Docker
    archive.py drop --archive DIR --image NAME.json               remove a manifest and the blobs only it named

The archive of an image that one Docker can load is the tar stream over the files its manifest names.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile

import content

LOAD_SECONDS = 3600


def blob_path(name):
    """Where an entry of the tar stream is stored: hashed blobs by name, small index files below the image."""
    return name if name.startswith("blobs/sha256/") else None


def save(arguments):
    """Stream `docker save` into blobs; a blob that is there already is not written again."""
    root = pathlib.Path(arguments.archive)
    (root / "blobs/sha256").mkdir(parents=True, exist_ok=True)
    layers = image_layers(arguments.reference)
    room(root, arguments.reference)
    entries, order = [], []
    proof = content.Proof(root)
    progress = content.Progress(f"archive {arguments.reference}", image_size(arguments.reference))
    docker = subprocess.Popen(["docker", "save", arguments.reference], stdout=subprocess.PIPE)
    with tarfile.open(fileobj=docker.stdout, mode="r|", bufsize=content.BLOCK) as stream:
        for member in stream:
            if not member.isfile():
                continue
            source = stream.extractfile(member)
            target = blob_path(member.name) or f"indexes/{arguments.image}/{member.name}"
            entries.append(take(root, source, target, proof, progress))
            order.append({"name": member.name, "path": target})
    if docker.wait() != 0:
        raise content.Wrong(f"docker save {arguments.reference} failed. Is the image there and the daemon running?")
    proof.save()
    progress.finish()
    manifest = {"name": arguments.reference, "layers": layers, "files": entries, "stream": order}
    content.write_json(root / "images" / arguments.image, manifest)


def take(root, source, target, proof, progress):
    final = root / target
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = final.with_name(final.name + content.PARTIAL)
    digest, size = hashlib.sha256(), 0
    with partial.open("wb") as out:
        while block := source.read(content.BLOCK):
            digest.update(block)
            out.write(block)
            size += len(block)
            progress.add(len(block))
        out.flush()
        os.fsync(out.fileno())
    entry = {"path": target, "size": size, "sha256": digest.hexdigest()}
    if target.startswith("blobs/") and final.name != entry["sha256"]:
        partial.unlink()
        raise content.Wrong(f"docker save wrote {target} with sha256 {entry['sha256']}: its layer store is damaged.")
    partial.rename(final)
    proof.record(entry)
    return entry


def load(arguments):
    """Verify every blob, stream them to `docker load` under a bound, then ask the daemon what it holds."""
    root = pathlib.Path(arguments.archive)
    manifest = content.read_json(root / "images" / arguments.image)
    if manifest is None:
        raise content.Wrong(f"{root} holds no archive {arguments.image}. Run the deploy again to fetch or build it.")
    if wrong := content.prove(root, manifest):
        raise content.Wrong(
            f"The archive of {arguments.reference} is damaged at {', '.join(entry['path'] for entry in wrong[:3])}. "
            "Run the deploy again: those files are fetched anew."
        )
    room(pathlib.Path(docker_root()), arguments.reference, sum(entry["size"] for entry in manifest["files"]))
    progress = content.Progress(f"load {arguments.reference}", sum(entry["size"] for entry in manifest["files"]))
    docker = subprocess.Popen(
        ["timeout", "--kill-after=10", str(LOAD_SECONDS), "docker", "load", "--quiet"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        with tarfile.open(fileobj=docker.stdin, mode="w|", bufsize=content.BLOCK) as stream:
            for item in manifest["stream"]:
                add(stream, root / item["path"], item["name"], progress)
        docker.stdin.close()
    except BrokenPipeError:
        pass
    docker.stdin = None
    told = docker.communicate()[1].decode(errors="replace").strip()
    if docker.returncode != 0 or image_layers(arguments.reference) != manifest["layers"]:
        raise content.Wrong(
            f"docker load of {arguments.reference} ended with status {docker.returncode}: {told or 'no message'}. "
            "If the next run fails too, restart docker.service: an interrupted load can wedge the daemon."
        )
    progress.finish()
    if arguments.then_drop:
        drop(arguments)


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

    with path.open("rb") as source:
        stream.addfile(member, Counted(source))


def drop(arguments):
    """Remove an image's manifest and the files that no other manifest names."""
    root = pathlib.Path(arguments.archive)
    manifest = content.read_json(root / "images" / arguments.image)
    if manifest is None:
        return
    (root / "images" / arguments.image).unlink()
    others = [content.read_json(path) for path in (root / "images").glob("*.json")]
    kept = {entry["path"] for other in others for entry in other["files"]}
    for entry in manifest["files"]:
        if entry["path"] not in kept:
            content.safe(root, entry["path"]).unlink(missing_ok=True)
    content.Proof(root).save()


def docker_output(*argv):
    done = subprocess.run(["docker", *argv], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def image_layers(reference):
    told = docker_output("image", "inspect", "--format", "{{json .RootFS.Layers}}", reference)
    return json.loads(told) if told else None


def image_size(reference):
    return int(docker_output("image", "inspect", "--format", "{{.Size}}", reference) or 0)


def docker_root():
    return docker_output("info", "--format", "{{.DockerRootDir}}") or "/var/lib/docker"


def room(directory, reference, need=None):
    """Refuse before the first byte when an image does not fit; Docker needs it twice for a while when loading."""
    need = 2 * need if need is not None else image_size(reference)
    have = shutil.disk_usage(directory).free
    if need > have:
        raise content.Wrong(
            f"{reference} needs {need / 1e9:.1f} GB in {directory}, {have / 1e9:.1f} GB are free, "
            f"{(need - have) / 1e9:.1f} GB are missing. Remove old images by name (`docker image rm`), then run again."
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, run in (("save", save), ("load", load), ("drop", drop)):
        command = commands.add_parser(name)
        if name != "drop":
            command.add_argument("reference")
        command.add_argument("--archive", required=True)
        command.add_argument("--image", required=True)
        command.add_argument("--then-drop", action="store_true")
        command.set_defaults(run=run)
    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except (content.Wrong, OSError, tarfile.TarError) as error:
        sys.exit(f"archive: {error}")


if __name__ == "__main__":
    main()

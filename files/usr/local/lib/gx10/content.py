#!/usr/bin/env python3
"""Large content on a host: described by a manifest, moved file by file, proven by hash before it gets its name.

A manifest is JSON {"name", "files": [{"path", "size", "sha256"}], ...}; paths are relative to the directory it is for.
A proof is JSON {path: [sha256, mtime_ns]}: what was hashed, and the file's time when it was.

    content.py stage  --source DIR --to DIR --name NAME       copy a directory whole, with its manifest
    content.py fetch  --url URL --manifest FILE --to DIR      complete a directory from another host
    content.py verify --manifest FILE --in DIR                hash what is not proven, print what is wrong
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
import threading
import time
from concurrent.futures import ThreadPoolExecutor

MANIFEST = ".gx10-manifest.json"
PROVEN = ".gx10-proven.json"
PARTIAL = ".partial"
BLOCK = 4 << 20
STREAMS = min(8, 2 * (os.cpu_count() or 1))


class Wrong(Exception):
    """Content that cannot be trusted or had; a sentence for the operator."""


def read_json(path, default=None):
    try:
        return json.loads(pathlib.Path(path).read_text())
    except FileNotFoundError:
        return default


def write_json(path, value):
    """Write a file whole: a partial name, synced, renamed."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL)
    with partial.open("w") as target:
        json.dump(value, target, sort_keys=True)
        target.flush()
        os.fsync(target.fileno())
    partial.rename(path)
    sync_directory(path.parent)


def sync_directory(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Progress:
    """Bytes done, rate and time left, as a line every few seconds."""

    def __init__(self, what, total):
        self.what, self.total, self.done = what, total, 0
        self.started = self.told = time.monotonic()
        self.lock = threading.Lock()

    def add(self, count):
        with self.lock:
            self.done += count
            now = time.monotonic()
            if now - self.told < 5:
                return
            self.told = now
            self.tell(now)

    def tell(self, now):
        rate = self.done / max(now - self.started, 1e-3)
        left = (self.total - self.done) / max(rate, 1)
        done = f"{self.done / 1e6:.0f} of {self.total / 1e6:.0f} MB"
        print(f"{self.what}: {done}, {rate / 1e6:.0f} MB/s, {left:.0f} s left", flush=True)

    def finish(self):
        seconds = time.monotonic() - self.started
        rate = self.done / max(seconds, 1e-3) / 1e6
        print(f"{self.what}: {self.done / 1e6:.0f} MB in {seconds:.1f} s, {rate:.0f} MB/s", flush=True)


def sha256_of(path, progress=None):
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as source:
        while block := source.read(BLOCK):
            digest.update(block)
            if progress:
                progress.add(len(block))
    return digest.hexdigest()


def safe(root, relative):
    """The path below the root that a manifest names; a path that leads out is refused."""
    path = root / relative
    if pathlib.PurePosixPath(relative).is_absolute() or ".." in pathlib.PurePosixPath(relative).parts:
        raise Wrong(f"The manifest names {relative!r}, which leads out of {root}. Fetch the manifest again.")
    if not path.parent.resolve().is_relative_to(root.resolve()):
        raise Wrong(f"{path.parent} is a link that leads out of {root}. Remove the link.")
    return path


def in_parallel(action, items):
    with ThreadPoolExecutor(STREAMS) as pool:
        for future in [pool.submit(action, item) for item in items]:
            future.result()


class Proof:
    """Which files were hashed, and when they last changed; kept beside the content."""

    def __init__(self, root):
        self.root, self.file = root, root / PROVEN
        self.known = read_json(self.file, {})
        self.lock = threading.Lock()

    def holds(self, entry):
        try:
            found = (self.root / entry["path"]).lstat()
        except OSError:
            return False
        return found.st_size == entry["size"] and self.known.get(entry["path"]) == [entry["sha256"], found.st_mtime_ns]

    def record(self, entry):
        found = (self.root / entry["path"]).lstat()
        with self.lock:
            self.known[entry["path"]] = [entry["sha256"], found.st_mtime_ns]

    def save(self):
        write_json(self.file, {path: proof for path, proof in self.known.items() if (self.root / path).exists()})


def prove(root, manifest):
    """Hash what is not proven; returns the entries whose file is absent or holds something else."""
    proof = Proof(root)
    wrong, lock = [], threading.Lock()

    def check(entry):
        if proof.holds(entry):
            return
        path = safe(root, entry["path"])
        regular = path.is_file() and not path.is_symlink()
        if regular and path.stat().st_size == entry["size"] and sha256_of(path) == entry["sha256"]:
            proof.record(entry)
            return
        with lock:
            wrong.append(entry)

    in_parallel(check, manifest["files"])
    proof.save()
    return wrong


def place(partial, final, entry, proof):
    """Give a partial file its final name once its hash is right."""
    found = sha256_of(partial)
    if found != entry["sha256"]:
        partial.unlink()
        raise Wrong(
            f"{final} arrived with sha256 {found}, expected {entry['sha256']}. "
            "The partial file was removed; run again, and check the sender's copy if it happens twice."
        )
    descriptor = os.open(partial, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    partial.rename(final)
    proof.record(entry)


def room_for(root, manifest, wrong):
    """Refuse before the first byte when the rest does not fit."""
    need = sum(entry["size"] for entry in wrong)
    root.mkdir(parents=True, exist_ok=True)
    have = shutil.disk_usage(root).free
    if need > have:
        raise Wrong(
            f"{manifest['name']} needs {need / 1e9:.1f} GB more in {root}, {have / 1e9:.1f} GB are free, "
            f"{(need - have) / 1e9:.1f} GB are missing. Free that much or move the directory."
        )


def complete(root, manifest, bring):
    """Bring every file of the manifest that is absent or wrong; each becomes visible only when proven."""
    wrong = prove(root, manifest)
    room_for(root, manifest, wrong)
    proof = Proof(root)
    progress = Progress(manifest["name"], sum(entry["size"] for entry in wrong))

    def one(entry):
        final = safe(root, entry["path"])
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = final.with_name(final.name + PARTIAL)
        bring(entry, partial, progress)
        place(partial, final, entry, proof)

    try:
        in_parallel(one, sorted(wrong, key=lambda entry: entry["path"]))
    finally:
        proof.save()
    for parent in {(root / entry["path"]).parent for entry in wrong}:
        sync_directory(parent)
    progress.finish()


def stage(arguments):
    """Copy a directory on this host, with a manifest of what it holds."""
    source, root = pathlib.Path(arguments.source), pathlib.Path(arguments.to)
    if not source.is_dir():
        raise Wrong(
            f"{source} does not exist on this host. Put the weights there or name another source in the recipe."
        )
    paths = [path for path in sorted(source.rglob("*")) if path.is_file() and path.name not in (MANIFEST, PROVEN)]
    entries = [{"path": str(path.relative_to(source)), "size": path.stat().st_size} for path in paths]
    with ThreadPoolExecutor(STREAMS) as pool:
        for entry, digest in zip(entries, pool.map(sha256_of, paths), strict=True):
            entry["sha256"] = digest
    manifest = {"name": arguments.name, "files": entries}

    def copy(entry, partial, progress):
        with (source / entry["path"]).open("rb") as original, partial.open("wb") as target:
            while block := original.read(BLOCK):
                target.write(block)
                progress.add(len(block))

    complete(root, manifest, copy)
    write_json(root / MANIFEST, manifest)


def fetch(arguments):
    """Complete a directory from another host's share, by the manifest that stands there."""
    root = pathlib.Path(arguments.to)
    received = root / (arguments.manifest + ".received")
    received.parent.mkdir(parents=True, exist_ok=True)
    rsync(f"{arguments.url}/{arguments.manifest}", received)
    manifest = read_json(received)
    skip = set(arguments.skip or ())
    manifest["files"] = [entry for entry in manifest["files"] if entry["path"] not in skip]

    def bring(entry, partial, progress):
        before = partial.stat().st_size if partial.exists() else 0
        rsync(f"{arguments.url}/{entry['path']}", partial)
        progress.add(partial.stat().st_size - before)

    complete(root, manifest, bring)
    received.rename(root / arguments.manifest)


def rsync(url, target, attempts=5):
    """One file over one stream; a stalled stream is given up after 30 s and resumed where it stopped."""
    argv = ["rsync", "--append", "--inplace", "--copy-links", "--timeout=30", "--contimeout=10", "--", url, str(target)]
    if target.suffix == ".received":
        argv.remove("--append")
    for attempt in range(1, attempts + 1):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        if attempt < attempts:
            time.sleep(min(2**attempt, 15))
    raise Wrong(
        f"{url} could not be fetched after {attempts} attempts: {done.stderr.strip()}. "
        "Check the fabric cable and gx10-share.service on the sender; the next run resumes."
    )


def verify(arguments):
    """Hash whatever is not proven."""
    root = pathlib.Path(arguments.inside)
    wrong = prove(root, read_json(arguments.manifest))
    if wrong:
        raise Wrong(f"{root} holds {len(wrong)} absent or damaged files: {', '.join(e['path'] for e in wrong[:5])}.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("stage")
    command.add_argument("--source", required=True)
    command.add_argument("--to", required=True)
    command.add_argument("--name", required=True)
    command.set_defaults(run=stage)
    command = commands.add_parser("fetch")
    command.add_argument("--url", required=True)
    command.add_argument("--manifest", required=True)
    command.add_argument("--to", required=True)
    command.add_argument("--skip", nargs="*")
    command.set_defaults(run=fetch)
    command = commands.add_parser("verify")
    command.add_argument("--manifest", required=True)
    command.add_argument("--in", dest="inside", required=True)
    command.set_defaults(run=verify)
    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except (Wrong, OSError) as error:
        sys.exit(f"content: {error}")


if __name__ == "__main__":
    main()

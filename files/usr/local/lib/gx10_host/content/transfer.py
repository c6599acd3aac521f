"""Large content on a host: described by a manifest, moved file by file, proven by hash before it gets its name.

    gx10-host content stage --source DIR --to DIR --name NAME         copy a directory whole, with its manifest
    gx10-host content fetch --url URL ... --manifest FILE --to DIR    complete a directory from other hosts
    gx10-host content describe --source DIR --name NAME --to FILE     write the manifest of a directory that stays
    gx10-host content verify --manifest FILE --in DIR [--full | --sample K/N | --nights N]
                                                 hash what is not proven, or everything, or a part; tell what is wrong

manifest.py says what a manifest is, proof.py what counts as proven, landing.py how a file gets its name,
hub_cache.py what of it lies on this host already.

In one file because its commands share one table of arguments, and each is a few steps of what those modules do.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import pathlib
import re
import sys
import time
from collections.abc import Mapping, Sequence
from threading import Event
from typing import NoReturn

from gx10_host.write.whole import sync_directory

from .hub_cache import Cached, linked, own_blob
from .landing import Stop, alone_in, held_of, land, note_transfer, own_file, sentence_of
from .manifest import (
    MANIFEST,
    PROVEN,
    RECEIVED,
    Damaged,
    Entry,
    Wanted,
    Wrong,
    checked,
    digest_of_manifest,
    proven,
    read_json,
    read_manifest,
    safe,
    unfinished,
    write_json,
)
from .proof import BLOCK, Progress, Proof, digest_of, in_parallel, prove, sample
from .stream import Streams

VERIFY_WAIT_SECONDS = 60
DAY_SECONDS = 86400
PART = re.compile(r"([0-9]{1,3})/([1-9][0-9]{0,2})")


def stage(arguments: argparse.Namespace) -> None:
    """Copy a directory on this host, with a manifest of what it holds; in place, make or hold its manifest."""
    source, root = source_of(arguments), absolute(arguments.to)
    inner, outer = sorted((source.resolve(), root.resolve()), key=lambda path: len(path.parts), reverse=True)
    if inner != outer and inner.is_relative_to(outer):
        raise Wrong(f"{source} and {root} lie one in the other. Name a source outside of the model's own directory.")
    with alone_in(root):
        if inner == outer:
            stage_in_place(root, arguments.name)
        else:
            stage_copy(source, root, arguments.name)


def stage_in_place(root: pathlib.Path, name: str) -> None:
    """Hold a directory to the manifest it has; describe one that has none."""
    manifest = read_manifest(root / MANIFEST)
    if manifest:
        if wrong := prove(root, manifest["name"], manifest["files"]):
            raise Wrong(
                f"{holds(root, wrong)}. There is no source to copy them from: restore them, or remove "
                f"{root / MANIFEST} if what stands there now shall be served."
            )
        return
    sizes, proof = listing(root), Proof(root)
    links: list[Wanted] = [{"path": path, "size": size} for path, size in sizes.items() if (root / path).is_symlink()]
    entries = land(root, name, links, lambda entry, partial, *_: give_link_a_file(root, entry, partial), proof)
    plain = [path for path in sizes if path not in entries]
    progress = Progress(f"{name}: hashing", sum(sizes[path] for path in plain))

    def describe(path: str) -> None:
        with (root / path).open("rb", buffering=0) as content:
            found = os.fstat(content.fileno())
            entries[path] = {"path": path, "size": found.st_size, "sha256": digest_of(content, progress)}
        proof.record(entries[path], found.st_mtime_ns)

    in_parallel(describe, plain)
    proof.save()
    progress.finish()
    describe_directory(root, name, entries)


def give_link_a_file(root: pathlib.Path, entry: Wanted, partial: pathlib.Path) -> tuple[Entry, str]:
    """Let the content a link leads to stand where the link stood, at no cost where one file system holds both."""
    target = (root / entry["path"]).resolve()
    if not linked(target, partial):
        return copied(target, entry, partial, Progress(entry["path"], entry["size"]))
    with partial.open("rb", buffering=0) as content:
        found = digest_of(content)
    return proven(entry, found), found


def stage_copy(source: pathlib.Path, root: pathlib.Path, name: str) -> None:
    sizes = listing(source)
    proof = Proof(root)
    entries = {path: known for path in sizes if (known := copied_before(source, root, path, proof))}
    missing: list[Wanted] = [{"path": path, "size": size} for path, size in sizes.items() if path not in entries]

    def copy(entry: Wanted, partial: pathlib.Path, progress: Progress, stopped: Event) -> tuple[Entry, str]:
        original = (source / entry["path"]).resolve()
        # A blob of a hub's cache is never written again, so that it can stand under both names.
        if (sha256 := own_blob(original)) and linked(original, partial):
            with partial.open("rb", buffering=0) as content:
                return proven(entry, sha256), digest_of(content, progress)
        return copied(original, entry, partial, progress, stopped)

    entries |= land(root, name, missing, copy, proof)
    if not missing:
        print(f"{name}: {len(entries)} files are as in {source}, nothing was copied", flush=True)
    describe_directory(root, name, entries)


def listing(source: pathlib.Path) -> dict[str, int]:
    """Size in bytes of every file below a directory by its relative path; what cannot be copied is refused."""
    found = {}
    for directory, names, files in os.walk(source, onerror=raise_it):
        for path in (pathlib.Path(directory, name) for name in names + files):
            relative = str(path.relative_to(source))
            if (path.is_dir() and not path.is_symlink()) or relative.startswith((MANIFEST, PROVEN)):
                continue
            if not path.is_file():
                raise Wrong(f"{path} is no file, nor a link to one. Remove it from {source}.")
            if unfinished(relative):
                raise Wrong(f"{path} is the rest of an unfinished transfer. Finish that or remove the file.")
            found[relative] = path.stat().st_size
    if not found:
        raise Wrong(f"{source} holds no file. Put the weights there or name another source in the recipe.")
    return found


def raise_it(error: OSError) -> NoReturn:
    raise error


def copied_before(source: pathlib.Path, root: pathlib.Path, path: str, proof: Proof) -> Entry | None:
    """The entry of a file that an earlier run copied: it has its source's size and time, and its hash is proven."""
    original = (source / path).stat()
    entry: Entry = {"path": path, "size": original.st_size, "sha256": (proof.known.get(path) or [""])[0]}
    if not proof.holds(entry) or (root / path).lstat().st_mtime_ns != original.st_mtime_ns:
        return None
    return entry


def copied(
    original: pathlib.Path, entry: Wanted, partial: pathlib.Path, progress: Progress, stopped: Event | None = None
) -> tuple[Entry, str]:
    """Copy one file to its partial name with its time, hashing what was read."""
    own_file(partial)
    digest, size = hashlib.sha256(), 0
    with original.open("rb", buffering=0) as source, partial.open("wb", buffering=0) as target:
        before = os.fstat(source.fileno())
        while block := source.read(BLOCK):
            if stopped and stopped.is_set():
                raise Stop(f"{original} was not copied: another file failed.")
            digest.update(block)
            size += len(block)
            progress.add(len(block))
            while block:  # A disk that fills up takes a part of a block before it refuses.
                block = block[target.write(block) :]
    if size != entry["size"]:
        raise Wrong(f"{original} changed while it was copied. Run again when its writer has finished.")
    os.utime(partial, ns=(before.st_atime_ns, before.st_mtime_ns))
    return proven(entry, digest.hexdigest()), digest.hexdigest()


def describe_directory(root: pathlib.Path, name: str, entries: Mapping[str, Entry], **more: object) -> None:
    """Write the manifest beside the content, last of all."""
    manifest = {"name": name, "files": [entries[path] for path in sorted(entries)], **more}
    write_json(root / MANIFEST, checked(manifest, root / MANIFEST))


def describe(arguments: argparse.Namespace) -> None:
    """Write the manifest of a directory elsewhere; hashes are kept beside it, so that a second run reads nothing."""
    source, target = source_of(arguments), absolute(arguments.to)
    sizes, kept = listing(source), Proof(source, target.with_suffix(".proven.json"))
    entries: dict[str, Entry] = {}

    def one(path: str) -> None:
        found = (source / path).stat()
        known = kept.known.get(path) or [None, None, None]
        if known[1:] != [found.st_mtime_ns, found.st_size]:
            with (source / path).open("rb", buffering=0) as content:
                known = [digest_of(content, progress), found.st_mtime_ns, found.st_size]
        entries[path] = {"path": path, "size": found.st_size, "sha256": known[0]}
        kept.known[path], kept.changed = known, True

    progress = Progress(f"{arguments.name}: hashing", sum(sizes.values()))
    target.parent.mkdir(parents=True, exist_ok=True)
    in_parallel(one, sorted(sizes))
    kept.save()
    manifest = {"name": arguments.name, "files": [entries[path] for path in sorted(entries)]}
    write_json(target, checked(manifest, target))


def fetch(arguments: argparse.Namespace) -> None:
    """Complete a directory from the shares of other hosts, by the manifest that stands there or is given."""
    root = absolute(arguments.to)
    with alone_in(root):
        final = safe(root, arguments.manifest)
        final.parent.mkdir(parents=True, exist_ok=True)
        received = final.with_name(final.name + RECEIVED)
        received.unlink(missing_ok=True)
        if arguments.given:
            received.write_bytes(sys.stdin.buffer.read())
        else:
            Streams(arguments.url).bring(arguments.manifest, None, received)
        manifest = checked(read_json(received), received)
        if arguments.expect and digest_of_manifest(manifest) != arguments.expect:
            received.unlink()
            raise Wrong(
                f"{arguments.url[0]} has another manifest of {manifest['name']} than was decided by "
                f"({arguments.expect[:12]}). Somebody works on that host; run again when they have finished."
            )
        moved, seconds = complete(root, manifest["name"], manifest["files"], arguments.url, arguments.reuse)
        if arguments.record and moved:
            note_transfer(arguments.record, manifest["name"], arguments.url, moved, seconds)
        with received.open("rb") as source:
            os.fsync(source.fileno())
        received.rename(final)
        sync_directory(final.parent)


def complete(
    root: pathlib.Path, name: str, entries: Sequence[Entry], urls: Sequence[str], reuse: str | None
) -> tuple[int, float]:
    """Bring what is absent or wrong: from a hub's cache on this host where it lies there, else from other hosts.

    Returns the bytes that other hosts sent, and the seconds of all of it.
    """
    wrong = prove(root, name, entries)
    proof, cached = Proof(root), Cached(reuse, entries=wrong) if reuse and wrong else None
    streams, started, moved = Streams(urls, durable=True), time.monotonic(), list[int]()

    def bring(entry: Entry, partial: pathlib.Path, progress: Progress, stopped: Event) -> tuple[Entry, str]:
        streams.stopped = stopped
        if cached and (found := cached.bring(entry, partial, progress)):
            return entry, found
        held = held_of(root, entry)
        found = streams.bring(entry["path"], entry["size"], partial, progress)
        moved.append(entry["size"] - held)
        return entry, found

    # In one order on every host, so that the sender reads each file from its disk once.
    land(root, name, sorted(wrong, key=lambda entry: entry["path"]), bring, proof)
    if not wrong:
        print(f"{name}: {len(entries)} files are as at {urls[0]}, nothing moved", flush=True)
    return sum(moved), time.monotonic() - started


def verify(arguments: argparse.Namespace) -> None:
    """Hash whatever is not proven, or everything, or tonight's part of it."""
    root = absolute(arguments.inside)
    manifest = read_manifest(arguments.manifest)
    if manifest is None:
        raise Wrong(f"{arguments.manifest} does not exist: nothing tells what {root} shall hold. Run the deploy.")
    entries, part = manifest["files"], part_of(arguments)
    if part:
        entries = sample(entries, *part)
        print(f"{manifest['name']}: part {part[0]} of {part[1]}, {len(entries)} files", flush=True)
    with alone_in(root, VERIFY_WAIT_SECONDS):
        wrong = prove(root, manifest["name"], entries, everything=arguments.full or bool(part))
    if wrong:
        raise Damaged(holds(root, wrong) + ".")


def part_of(arguments: argparse.Namespace) -> tuple[int, int] | None:
    """Which part of how many is asked for; None means no part. Nights are counted, whatever their number is."""
    if arguments.nights:
        return int(time.time() // DAY_SECONDS) % arguments.nights + 1, arguments.nights
    if not arguments.sample:
        return None
    told = PART.fullmatch(arguments.sample)
    if not told or not 1 <= int(told[1]) <= int(told[2]):
        raise Wrong(f"--sample {arguments.sample!r} is no part such as 3/7, counted from 1.")
    return int(told[1]), int(told[2])


def holds(root: pathlib.Path, wrong: Sequence[Entry]) -> str:
    names = ", ".join(entry["path"] for entry in wrong[:5])
    return f"{root} holds {len(wrong)} absent or damaged files: {names}{', …' if len(wrong) > 5 else ''}"


def source_of(arguments: argparse.Namespace) -> pathlib.Path:
    """The directory that content comes from, which must be there."""
    source = absolute(arguments.source)
    if not source.is_dir():
        raise Wrong(
            f"{source} does not exist on this host. Put the weights there or name another source in the recipe."
        )
    return source


def absolute(name: str) -> pathlib.Path:
    return pathlib.Path(name).absolute()


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("stage")
    command.add_argument("--source", required=True)
    command.add_argument("--to", required=True)
    command.add_argument("--name", required=True)
    command.set_defaults(run=stage)
    command = commands.add_parser("fetch")
    command.add_argument("--url", action="append", required=True)
    command.add_argument("--manifest", required=True)
    command.add_argument("--to", required=True)
    command.add_argument("--given", action="store_true", help="the manifest comes on standard input")
    command.add_argument("--expect", help="digest of the manifest")
    command.add_argument("--reuse", help="directory with hub caches, whose content is taken instead of sent")
    command.add_argument("--record", help="file that keeps what transfers came to")
    command.set_defaults(run=fetch)
    command = commands.add_parser("describe")
    command.add_argument("--source", required=True)
    command.add_argument("--name", required=True)
    command.add_argument("--to", required=True)
    command.set_defaults(run=describe)
    command = commands.add_parser("verify")
    command.add_argument("--manifest", required=True)
    command.add_argument("--in", dest="inside", required=True)
    command.add_argument("--full", action="store_true")
    command.add_argument("--sample", help="K/N: the K-th of N parts")
    command.add_argument("--nights", type=int, choices=range(1, 367), metavar="N", help="tonight's of N parts")
    command.set_defaults(run=verify)
    arguments = parser.parse_args(argv)
    try:
        arguments.run(arguments)
    except Wrong as error:
        print(f"content: {error}", file=sys.stderr)
        sys.exit(error.status)
    except OSError as error:
        sys.exit(f"content: {sentence_of(getattr(arguments, 'to', None) or arguments.inside, 'the manifest', error)}")
    return 0

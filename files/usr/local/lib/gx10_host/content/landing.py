"""How large files get their final names: a partial beside it, resumed, proven by hash, synced, renamed.

Whoever is killed at whatever point leaves partial files and whole ones, never a wrong file at a final name.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pathlib
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from gx10_host.write.whole import sync_directory

from .manifest import PARTIAL, Damaged, Entry, Wanted, Wrong, read_json, safe, write_json
from .proof import Progress, Proof, in_parallel

File = TypeVar("File", bound=Wanted)
WAIT_SECONDS = 3600
RECORDS = 20
"""Transfers that a host remembers."""


class Stop(Wrong):
    """What makes every further file pointless too, such as a full disk or a silent sender."""


@contextlib.contextmanager
def alone_in(root: pathlib.Path, seconds: float = WAIT_SECONDS) -> Iterator[int]:
    """Work in a directory alone, made where absent: two runs on one file would write through each other.

    Yields the descriptor of the lock. A child that inherits it keeps the lock for as long as it can still write.
    """
    root.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        wait_for_lock(descriptor, root, seconds)
        yield descriptor
    finally:
        os.close(descriptor)


def wait_for_lock(descriptor: int, root: pathlib.Path, seconds: float) -> None:
    until, told = time.monotonic() + seconds, False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until:
                raise Wrong(
                    f"Another run has been working in {root} for {seconds:.0f} s. "
                    f"See which with `fuser -v {root}`; wait for it or end it, then run again."
                ) from None
        if not told:
            print(f"waiting for another run that works in {root}", flush=True)
            told = True
        time.sleep(0.1)


def room_for(root: pathlib.Path, name: str, entries: Iterable[Wanted]) -> None:
    """Refuse before the first byte when what is still to come does not fit; a partial's bytes are there already."""
    need = sum(max(0, entry["size"] - allocated(partial_of(root, entry))) for entry in entries)
    have = shutil.disk_usage(root).free
    if need > have:
        raise Wrong(
            f"{name} needs {amount(need)} more in {root}, {amount(have)} are free, "
            f"{amount(need - have)} are missing. Free that much or move the directory."
        )


def amount(count: float) -> str:
    """Bytes as a person reads them."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def partial_of(root: pathlib.Path, entry: Wanted) -> pathlib.Path:
    final = safe(root, entry["path"])
    return final.with_name(final.name + PARTIAL)


def allocated(partial: pathlib.Path) -> int:
    try:
        return partial.lstat().st_blocks * 512
    except OSError:
        return 0


def held_of(root: pathlib.Path, entry: Wanted) -> int:
    """Bytes of an entry that an earlier attempt brought."""
    try:
        return min(entry["size"], partial_of(root, entry).lstat().st_size)
    except OSError:
        return 0


def own_file(partial: pathlib.Path) -> bool:
    """Whether a partial is a plain file of ours to write into: never through a link, never into a shared inode."""
    try:
        found = partial.lstat()
    except FileNotFoundError:
        return False
    if not partial.is_symlink() and partial.is_file() and found.st_nlink == 1:
        return True
    partial.unlink()
    return False


def land(
    root: pathlib.Path,
    name: str,
    entries: Sequence[File],
    bring: Callable[[File, pathlib.Path, Progress, threading.Event], tuple[Entry, str]],
    proof: Proof,
    *,
    durable: bool = True,
) -> dict[str, Entry]:
    """Bring files that are absent or wrong; each becomes visible only when proven.

    `bring(entry, partial, progress, stopped)` completes the partial file, from where it stands, and returns the entry
    with its sha256, and the sha256 of the bytes that it wrote: nothing is read a second time. Returns the entries as
    brought. One damaged file does not keep the others from arriving. What is not
    `durable` is neither synced nor recorded as proven: a power cut may take it back.
    """
    for entry in entries:
        if (final := safe(root, entry["path"])).is_dir() and not final.is_symlink():
            raise Wrong(f"{final} is a directory, expected a file. Move it away and run again.")
    room_for(root, name, entries)
    progress = Progress(name, sum(entry["size"] for entry in entries))
    stopped, parents = threading.Event(), {root}
    reasons: list[str] = []
    faults: list[Wrong] = []
    brought: dict[str, Entry] = {}

    def bring_it(entry: File, partial: pathlib.Path) -> tuple[Entry, str]:
        return bring(entry, partial, progress, stopped)

    def one(entry: File) -> None:
        if stopped.is_set():
            return
        try:
            final = safe(root, entry["path"])
            final.parent.mkdir(parents=True, exist_ok=True)
            parents.update(parent for parent in final.parents if parent.is_relative_to(root))
            brought[entry["path"]] = land_one(root, entry, bring_it, proof if durable else None, progress)
        except Stop as reason:
            reasons.append(str(reason))
            stopped.set()
        except Wrong as fault:
            faults.append(fault)
        except OSError as error:
            reasons.append(sentence_of(root, name, error))
            stopped.set()

    try:
        in_parallel(one, entries)
    finally:
        try:
            if durable:
                for parent in sorted(parents, reverse=True):
                    sync_directory(parent)
            proof.save()
        except OSError as error:  # A full disk takes no proof either: what was brought is hashed again.
            reasons.append(sentence_of(root, name, error))
    if reasons:
        raise Stop(reasons[0])
    if faults:
        more = f" And {len(faults) - 3} files more." if len(faults) > 3 else ""
        sort = Damaged if all(isinstance(fault, Damaged) for fault in faults) else Wrong
        raise sort(" ".join(map(str, faults[:3])) + more)
    if entries:
        progress.finish()
    return brought


def land_one(
    root: pathlib.Path,
    entry: File,
    bring: Callable[[File, pathlib.Path], tuple[Entry, str]],
    proof: Proof | None,
    progress: Progress,
) -> Entry:
    """Bring one file; a partial that was resumed and turns out damaged is brought anew, once."""
    partial, final = partial_of(root, entry), root / entry["path"]
    resumed = own_file(partial)
    whole, found = bring(entry, partial)
    fault = place(partial, final, whole, found, proof)
    if fault and resumed:
        print(f"{final}: its partial file was damaged and is brought anew", flush=True)
        progress.add(-entry["size"])
        whole, found = bring(entry, partial)
        fault = place(partial, final, whole, found, proof)
    if fault:
        raise Damaged(
            f"{final} arrived with {fault}, expected sha256 {whole['sha256']} in {whole['size']} bytes. "
            "It was removed; check the sender's copy, then run again."
        )
    return whole


def place(partial: pathlib.Path, final: pathlib.Path, entry: Entry, found: str, proof: Proof | None) -> str:
    """Give a partial file its final name if its bytes are right; else remove it and tell what was found in it.

    Without a proof to record it in, it is not synced either.
    """
    with partial.open("rb", buffering=0) as source:
        before = os.fstat(source.fileno())
        if (found, before.st_size) != (entry["sha256"], entry["size"]):
            partial.unlink()
            return f"sha256 {found} in {before.st_size} bytes"
        os.fchmod(source.fileno(), 0o644)  # Weights that another user's umask hid are for every user of the host.
        if proof:
            os.fsync(source.fileno())
            # Written and not read here: the memory belongs to the engine beside.
            os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    partial.rename(final)
    if proof:
        proof.record(entry, before.st_mtime_ns)
    return ""


def note_transfer(
    path: str | pathlib.Path, what: str, urls: Sequence[str], moved: int, seconds: float, **more: object
) -> None:
    """Keep what a transfer came to, so that a link that has become slow is seen."""
    told = {"at": int(time.time()), "what": what, "from": urls, "bytes": moved, "seconds": round(seconds, 2), **more}
    known = read_json(path, [])
    write_json(path, [told, *(known if isinstance(known, list) else [])][:RECORDS])


def sentence_of(root: object, name: str, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk of {root} became full while {name} was written. Free some; the next run resumes."
    return f"{name} in {root}: {error}. The next run resumes."

"""Proof that files hold what a manifest says: hashed once, then known by size and time of change.

A proof file is JSON {path: [sha256, mtime_ns]}: what was hashed, and the file's time when it was.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import stat
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from io import FileIO
from typing import TYPE_CHECKING, Any, TypeVar

from .manifest import PROVEN, Entry, Wrong, read_json, safe, write_json

if TYPE_CHECKING:
    from hashlib import _Hash

Item = TypeVar("Item")
BLOCK = 1 << 20
STREAMS = min(8, 2 * (os.cpu_count() or 1))
SAVE_SECONDS = 2
"""How much hashing a killed run may have to do again."""
TELL_SECONDS = 5


class Progress:
    """Bytes done, rate and time left, as a line every few seconds.

    Work whose reader has gone ends at the next line, to be resumed by the next run; `unheard` work is finished.
    """

    def __init__(self, what: str, total: int, unheard: bool = False) -> None:
        self.what, self.total, self.done, self.unheard = what, total, 0, unheard
        self.started = self.told = time.monotonic()
        self.lock = threading.Lock()

    def add(self, count: int) -> None:
        """Count bytes; those of a file that starts over are taken back as a negative number."""
        with self.lock:
            self.done += count
            now = time.monotonic()
            if now - self.told < TELL_SECONDS:
                return
            self.told = now
            rate = self.done / max(now - self.started, 1e-3)
            left = f"{(self.total - self.done) / rate:.0f} s left" if rate > 1e4 else "no end in sight"
            self.tell(f"{self.what}: {self.done / 1e6:.0f} of {self.total / 1e6:.0f} MB, {rate / 1e6:.0f} MB/s, {left}")

    def finish(self) -> None:
        """The last line: what it came to."""
        seconds = time.monotonic() - self.started
        rate = self.done / max(seconds, 1e-3) / 1e6
        self.tell(f"{self.what}: {self.done / 1e6:.0f} MB in {seconds:.1f} s, {rate:.0f} MB/s")

    def tell(self, line: str) -> None:
        try:
            print(line, flush=True)
        except BrokenPipeError:
            if not self.unheard:
                raise


def in_parallel(action: Callable[[Item], object], items: Iterable[Item]) -> None:
    """Run an action on all items; the first failure keeps those from starting that have not."""
    pool = ThreadPoolExecutor(STREAMS)
    try:
        done, _ = wait([pool.submit(action, item) for item in items], return_when=FIRST_EXCEPTION)
    finally:
        pool.shutdown(cancel_futures=True)
    for future in done:
        future.result()


def block_of(owner: threading.local) -> memoryview:
    """A block to read into, made once for each thread that `owner`, a threading.local, belongs to."""
    if not hasattr(owner, "block"):
        owner.block = memoryview(bytearray(BLOCK))
    block: memoryview = owner.block
    return block


def digest_so_far(path: pathlib.Path, progress: Progress | None = None) -> tuple[_Hash, int]:
    """A sha256 that goes on after what a file holds, and how many bytes that are."""
    digest, count = hashlib.sha256(), 0
    with path.open("rb", buffering=0) as source:
        while read := source.readinto(block_of(_own)):
            digest.update(_own.block[:read])
            count += read
            if progress:
                progress.add(read)
    return digest, count


_own = threading.local()


def digest_of(source: FileIO, progress: Progress | None = None) -> str:
    """The sha256 of an open file."""
    digest, block = hashlib.sha256(), block_of(_own)
    while count := source.readinto(block):
        digest.update(block[:count])
        if progress:
            progress.add(count)
    return digest.hexdigest()


class Proof:
    """Which files were hashed, and when they last changed; kept beside the content."""

    def __init__(self, root: pathlib.Path, file: pathlib.Path | None = None) -> None:
        self.root, self.file = root, file or root / PROVEN
        try:
            known = read_json(self.file, {})
        except Wrong:  # A proof that cannot be read proves nothing: everything is hashed again.
            known = {}
        self.known: dict[str, list[Any]] = known if isinstance(known, dict) else {}
        self.lock = threading.Lock()
        self.saved, self.changed = time.monotonic(), False

    def holds(self, entry: Entry) -> bool:
        """Whether the file was hashed to what the entry says and has not changed since."""
        try:
            found = (self.root / entry["path"]).lstat()
        except OSError:
            return False
        return (
            stat.S_ISREG(found.st_mode)
            and found.st_size == entry["size"]
            and self.known.get(entry["path"]) == [entry["sha256"], found.st_mtime_ns]
        )

    def record(self, entry: Entry, mtime_ns: int) -> None:
        """Remember a hash, with the file's time from before it was read: a change meanwhile shows."""
        with self.lock:
            self.known[entry["path"]] = [entry["sha256"], mtime_ns]
            self.changed = True
            if time.monotonic() - self.saved > SAVE_SECONDS:
                self._write()

    def forget(self, entries: Iterable[Entry]) -> None:
        """Take back what was known of files that turned out wrong."""
        with self.lock:
            for entry in entries:
                self.changed |= self.known.pop(entry["path"], None) is not None

    def save(self) -> None:
        """Write down what is known, without files that are gone."""
        with self.lock:
            gone = [path for path in self.known if not os.path.lexists(self.root / path)]
            for path in gone:
                del self.known[path]
            if self.changed or gone:
                self._write()

    def _write(self) -> None:
        write_json(self.file, self.known)
        self.saved, self.changed = time.monotonic(), False


def sample(entries: Iterable[Entry], part: int, parts: int) -> list[Entry]:
    """One of several parts that together are everything, each about as large: the same on every host and night."""
    sizes, chosen = [0] * parts, list[Entry]()
    for entry in sorted(entries, key=lambda entry: (-entry["size"], entry["path"])):
        least = sizes.index(min(sizes))
        sizes[least] += entry["size"] + 1
        if least == part - 1:
            chosen.append(entry)
    return chosen


def prove(root: pathlib.Path, name: str, entries: Iterable[Entry], everything: bool = False) -> list[Entry]:
    """Hash what is not proven, or everything; returns the entries whose file is absent or holds something else."""
    proof = Proof(root)
    asked = [entry for entry in entries if everything or not proof.holds(entry)]
    right = set[str]()
    progress = Progress(f"{name}: hashing", sum(size_found(root, entry) for entry in asked))

    def check(entry: Entry) -> None:
        path = safe(root, entry["path"])
        if path.is_symlink() or not path.is_file():
            return
        with path.open("rb", buffering=0) as source:
            found = os.fstat(source.fileno())
            if found.st_size == entry["size"] and digest_of(source, progress) == entry["sha256"]:
                proof.record(entry, found.st_mtime_ns)
                right.add(entry["path"])
            if everything:
                # From the disk the next time too, and not the engine's memory.
                os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    try:
        in_parallel(check, asked)
        wrong = [entry for entry in asked if entry["path"] not in right]
        proof.forget(wrong)  # Damage that kept size and time must not pass for proven again.
    finally:
        proof.save()
    return wrong


def size_found(root: pathlib.Path, entry: Entry) -> int:
    """Bytes that hashing an entry will read."""
    try:
        return entry["size"] if (root / entry["path"]).lstat().st_size == entry["size"] else 0
    except OSError:
        return 0

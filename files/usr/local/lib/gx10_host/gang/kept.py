"""The files that configure the gang on this host: which generation they describe, and the last one that served.

The generation that served last is kept beside them, so that one that does not start can be undone without a
controller. It is kept with the membership it served under, head and hosts with their addresses: on other hosts it
cannot serve, and is never put back.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from gx10_host import checked
from gx10_host.checked import AtMost, Form, NoneAs, Refused
from gx10_host.wire import Generation, Membership
from gx10_host.write.whole import sync_directory, write_whole

KEPT = pathlib.Path("/var/lib/gx10/gang/kept")
GENERATION = "/etc/gx10/generation.env"
PATH = re.compile(r"/[!-~]{1,400}")
SHA256 = re.compile(r"[0-9a-f]{64}")
LONGEST = 256 * 1024
"""Bytes of kept.json; none of ours is longer, and none of the files beside it is longer than `LONGEST_FILE`."""
LONGEST_FILE = 4 * 1024 * 1024
OWN_PROGRAM = re.compile(r"^Exec\w+=[-+!@:|]*(/usr/local/[^\s\\]+)", re.MULTILINE)
"""A program of this package, where a unit calls it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What kept.json says of the files beside it, each of which is named after its number in `paths`."""

    generation: Generation | None = None
    membership: Annotated[Membership | None, NoneAs(None)] = None
    paths: Annotated[tuple[Annotated[str, Form(PATH, "an absolute path")], ...], AtMost(200)] = ()
    digests: Annotated[tuple[Annotated[str, Form(SHA256, "a SHA-256")], ...], AtMost(200)] = ()
    """Of the files, in the same order."""


class Files:
    """Files of the gang by path, with their modes."""

    def __init__(
        self, config: Mapping[str, Any], root: str | pathlib.Path = "/", kept: str | pathlib.Path = KEPT
    ) -> None:
        self.paths, self.root, self.place = config["files"], pathlib.Path(root), pathlib.Path(kept)
        self.membership = Membership(head=config["head"], hosts=config["hosts"])
        self.before = self.place.with_name(f"{self.place.name}.before")
        """Where the one before stands while a new one takes its place."""
        if self.before.exists() and not self.place.exists():  # The power went away in between.
            self.before.rename(self.place)
        self.known: tuple[object, Kept] = (None, Kept())
        """What was kept, and which file said so."""

    def described(self) -> Generation | None:
        """The generation that stands in the files; None before a deploy."""
        return _generation(self._at(GENERATION))

    def kept(self) -> Generation | None:
        """The generation that was kept; None before any has served."""
        return self._known().generation

    def kept_for(self) -> Membership | None:
        """The membership it served under; None where that was not written down."""
        return self._known().membership

    def keep(self, generation: Generation) -> bool:
        """Keep the files of a generation that has served, unless they are kept already or describe another."""
        there = self.kept() == generation and self.kept_for() == self.membership
        if there or self.described() != generation:
            return False
        partial = self.place.with_name("kept.new")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        paths = [path for path in self.paths if self._at(path).is_file()]
        digests = []
        for number, path in enumerate(paths):
            content = self._at(path).read_bytes()
            write_whole(partial / str(number), content, mode=self._at(path).stat().st_mode & 0o777)
            digests.append(hashlib.sha256(content).hexdigest())
        kept = Kept(generation=generation, membership=self.membership, paths=tuple(paths), digests=tuple(digests))
        write_whole(partial / "kept.json", checked.to_bytes(kept))
        if self.described() != generation:  # A deploy wrote meanwhile.
            return False
        shutil.rmtree(self.before, ignore_errors=True)
        if self.place.exists():
            self.place.rename(self.before)
        partial.rename(self.place)
        shutil.rmtree(self.before, ignore_errors=True)
        sync_directory(self.place.parent)
        return True

    def restore(self, generation: Generation) -> bool:
        """Put a kept generation back; the file that names it comes last, so that half of it is never called whole."""
        if self.kept() != generation or self.kept_for() != self.membership or self.described() == generation:
            return False
        known = self._known()
        contents = self._contents(known)
        if contents is None:  # Damaged since it was looked at.
            return False
        for path, (content, mode) in sorted(contents.items(), key=lambda pair: pair[0] == GENERATION):
            write_whole(self._at(path), content, mode=mode)
        return True

    def _known(self) -> Kept:
        """What was kept and can be put back; looked at anew when another file says so."""
        try:
            with (self.place / "kept.json").open("rb") as file:
                which = os.fstat(file.fileno())
                key = (which.st_ino, which.st_mtime_ns, which.st_size)
                if self.known[0] == key:
                    return self.known[1]
                kept = checked.read(Kept, checked.parse(file.read(LONGEST + 1), LONGEST), newer=True)
        except (OSError, ValueError):  # What cannot be read was not kept; the next life that serves keeps it anew.
            return Kept()
        self.known = (key, kept if self._can_run(kept) else Kept())
        return self.known[1]

    def _contents(self, kept: Kept) -> dict[str, tuple[bytes, int]] | None:
        """The kept files by path, with their modes; None unless each is what was kept, and a file of the gang."""
        contents = {}
        if len(kept.digests) != len(kept.paths) or not {GENERATION} <= set(kept.paths) <= set(self.paths):
            return None
        for number, (path, digest) in enumerate(zip(kept.paths, kept.digests, strict=True)):
            try:
                with (self.place / str(number)).open("rb") as file:
                    content, mode = file.read(LONGEST_FILE + 1), os.fstat(file.fileno()).st_mode & 0o777
            except OSError:
                return None
            if hashlib.sha256(content).hexdigest() != digest:
                return None
            contents[path] = (content, mode)
        return contents

    def _can_run(self, kept: Kept) -> bool:
        """Whether it is whole, and this host still has the programs that the kept units call.

        A generation of an earlier version of this package calls programs that a deploy has removed since: put back, it
        would fail at its first line.
        """
        contents = self._contents(kept)
        if contents is None:
            return False
        texts = (content.decode(errors="replace") for content, _ in contents.values())
        called = {program for text in texts for program in OWN_PROGRAM.findall(text)}
        return all(self._at(program).exists() for program in called)

    def _at(self, path: str) -> pathlib.Path:
        return self.root / str(path).lstrip("/")


def _generation(path: pathlib.Path) -> Generation | None:
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST).decode(errors="replace")
        for line in text.splitlines():
            name, _, value = line.partition("=")
            if name == "GX10_GENERATION":
                return Generation(value)
    except (OSError, Refused):
        pass
    return None

"""The files that configure the gang on this host: which generation they describe, and the last one that served.

The generation that served last is kept beside them, so that one that does not start can be undone without a
controller. It is kept with the membership it served under, head and hosts with their addresses: on other hosts it
cannot serve, and is never put back.
"""

from __future__ import annotations

import pathlib
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from gx10_host import checked
from gx10_host.checked import AtMost, Form, NoneAs, Refused
from gx10_host.wire import Generation, Membership

KEPT = pathlib.Path("/var/lib/gx10/gang/kept")
GENERATION = "/etc/gx10/generation.env"
PATH = re.compile(r"/[!-~]{1,400}")
LONGEST = 256 * 1024
OWN_PROGRAM = re.compile(r"^Exec\w+=[-+!@:|]*(/usr/local/[^\s\\]+)", re.MULTILINE)
"""A program of this package, where a unit calls it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What kept.json says of the files beside it, each of which is named after its number in `paths`."""

    generation: Generation | None = None
    membership: Annotated[Membership | None, NoneAs(None)] = None
    paths: Annotated[tuple[Annotated[str, Form(PATH, "an absolute path")], ...], AtMost(200)] = ()


class Files:
    """Files of the gang by path, with their modes."""

    def __init__(
        self, config: Mapping[str, Any], root: str | pathlib.Path = "/", kept: str | pathlib.Path = KEPT
    ) -> None:
        self.paths, self.root, self.place = config["files"], pathlib.Path(root), pathlib.Path(kept)
        self.membership = Membership(head=config["head"], hosts=config["hosts"])
        self.known: Kept | None = None

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
        for number, path in enumerate(paths):
            shutil.copy2(self._at(path), partial / str(number))
        kept = Kept(generation=generation, membership=self.membership, paths=tuple(paths))
        (partial / "kept.json").write_bytes(checked.to_bytes(kept))
        if self.described() != generation:  # A deploy wrote meanwhile.
            return False
        self.known = None
        shutil.rmtree(self.place, ignore_errors=True)
        partial.replace(self.place)
        return True

    def restore(self, generation: Generation) -> bool:
        """Put a kept generation back; the file that names it comes last, so that half of it is never called whole."""
        if self.kept() != generation or self.kept_for() != self.membership or self.described() == generation:
            return False
        paths = self._known().paths
        for number in sorted(range(len(paths)), key=lambda number: paths[number] == GENERATION):
            path = self._at(paths[number])
            partial = path.with_name(f"{path.name}.new")
            shutil.copy2(self.place / str(number), partial)
            partial.replace(path)
        return True

    def _known(self) -> Kept:
        if self.known is None or self.known.generation is None:
            try:
                self.known = checked.read(
                    Kept, checked.parse((self.place / "kept.json").read_bytes(), LONGEST), newer=True
                )
            except (OSError, ValueError):  # What cannot be read was not kept; the next life that serves keeps it anew.
                self.known = Kept()
            if not self._can_run(self.known):
                self.known = Kept()
        return self.known

    def _can_run(self, kept: Kept) -> bool:
        """Whether this host still has the programs that the kept units call.

        A generation of an earlier version of this package calls programs that a deploy has removed since: put back, it
        would fail at its first line.
        """
        try:
            texts = [(self.place / str(number)).read_text(errors="replace") for number in range(len(kept.paths))]
        except OSError:
            return False
        called = {program for text in texts for program in OWN_PROGRAM.findall(text)}
        return all(self._at(program).exists() for program in called)

    def _at(self, path: str) -> pathlib.Path:
        return self.root / str(path).lstrip("/")


def _generation(path: pathlib.Path) -> Generation | None:
    try:
        for line in path.read_text(errors="replace").splitlines():
            name, _, value = line.partition("=")
            if name == "GX10_GENERATION":
                return Generation(value)
    except (OSError, Refused):
        pass
    return None

"""The files that configure the gang on this host: which generation they describe, and the last one that served.

The generation that served last is kept beside them, so that one that does not start can be undone without a
controller. It is kept with the membership it served under, head and hosts with their addresses: on other hosts it
cannot serve, and is never put back.
"""

from __future__ import annotations

import json
import pathlib
import shutil

KEPT = pathlib.Path("/var/lib/gx10/gang/kept")
GENERATION = "/etc/gx10/generation.env"


class Files:
    """Files of the gang by path, with their modes."""

    def __init__(self, config, root="/", kept=KEPT):
        self.paths, self.root, self.place = config["files"], pathlib.Path(root), pathlib.Path(kept)
        self.membership = {"head": config["head"], "hosts": config["hosts"]}
        self.known = {}

    def described(self):
        """The generation that stands in the files; None before a deploy."""
        return _generation(self._at(GENERATION))

    def kept(self):
        """The generation that was kept; None before any has served."""
        return self._known().get("generation")

    def kept_for(self):
        """The membership it served under; None where that was not written down."""
        return self._known().get("membership")

    def keep(self, generation):
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
        kept = {"generation": generation, "membership": self.membership, "paths": paths}
        (partial / "kept.json").write_text(json.dumps(kept))
        if self.described() != generation:  # A deploy wrote meanwhile.
            return False
        self.known = {}
        shutil.rmtree(self.place, ignore_errors=True)
        partial.replace(self.place)
        return True

    def restore(self, generation):
        """Put a kept generation back; the file that names it comes last, so that half of it is never called whole."""
        if self.kept() != generation or self.kept_for() != self.membership or self.described() == generation:
            return False
        told = json.loads((self.place / "kept.json").read_text())
        order = sorted(range(len(told["paths"])), key=lambda number: told["paths"][number] == GENERATION)
        for number in order:
            path = self._at(told["paths"][number])
            partial = path.with_name(f"{path.name}.new")
            shutil.copy2(self.place / str(number), partial)
            partial.replace(path)
        return True

    def _known(self):
        if not self.known:
            try:
                self.known = json.loads((self.place / "kept.json").read_text())
            except (OSError, ValueError):
                self.known = {}
        return self.known

    def _at(self, path):
        return self.root / str(path).lstrip("/")


def _generation(path):
    try:
        for line in path.read_text().splitlines():
            name, _, value = line.partition("=")
            if name == "GX10_GENERATION":
                return value
    except OSError:
        pass
    return None

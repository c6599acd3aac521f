"""What each thing in the model root is, what of it may go and why, and what stays whatever else is said of it.

What no rule can name is reported, and stays as well.

In one file because the rules are asked in their order, and each relies on those before it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import re
import stat
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from gx10_host.content.manifest import MANIFEST, PARTIAL, RECEIVED, Wrong, read_manifest
from gx10_host.content.proof import Proof

from .tree import Tree, is_locked, plain_file

KINDS = ("incomplete", "partial", "orphan", "bypassed", "revision", "compile-cache", "unnamed")
"""Kinds of what may go, the cheapest to have again first."""
COMPILE_CACHES = ("torch_compile_cache", "torchinductor", "triton", ".triton", "flashinfer", "vllm")
REPOSITORY = re.compile(r"models--(?P<org>[^/]+?)--(?P<name>[^/]+)")
STORE_MARK = ".huggingface-shared-blobs"


@dataclasses.dataclass(frozen=True)
class Item:
    """Something that may go: a file, a link or a directory with all that is in it."""

    path: str
    """Below the root; bytes that are no text stand as surrogates."""
    kind: str
    bytes: int
    """What its removal frees: a file that has a name elsewhere too frees nothing."""
    why: str


class Rules:
    """What stays whatever else is said of it, and what each thing in the root is."""

    def __init__(
        self,
        tree: Tree,
        policy: Mapping[str, Any],
        running: Iterable[pathlib.Path] = (),
        images_since: float = 0.0,
        now: float | None = None,
    ) -> None:
        self.tree, self.policy = tree, policy
        self.now = time.time() if now is None else now
        self.images_since = images_since
        self.stale = float(policy.get("stale_hours", 24)) * 3600
        self.kinds = set(policy.get("kinds", KINDS))
        self.items: list[Item] = []
        self.unknown: list[dict[str, Any]] = []
        self.models: list[dict[str, Any]] = []
        root = tree.root
        keep = [*policy.get("keep", ()), *(str(path) for path in running)]
        # Also where a kept name is a link inside the root: what it leads to stays too.
        self.kept = {root / name for name in keep} | {(root / name).resolve() for name in keep}
        self.kept |= caches_of(root, policy.get("keep_caches", ()))
        known = {*policy.get("known", ()), *keep}
        self.known = {root / name for name in known} | caches_of(root, known)
        self.busy: set[pathlib.Path] = set()

    def protected(self, path: pathlib.Path) -> bool:
        """Whether a path is kept, holds something kept, lies in it, or has a mount in it."""
        return self.touches(path, self.kept) or self.touches(path, self.busy) or self.tree.holds_mount(path)

    def touches(self, path: pathlib.Path, others: Collection[pathlib.Path]) -> bool:
        return any(path == other or other in path.parents or path in other.parents for other in others)

    def may_go(self, path: pathlib.Path, kind: str, why: str) -> bool:
        """Note something that may go, unless it is protected or its kind is not to be removed."""
        if kind in self.kinds and not self.protected(path):
            self.items.append(Item(self.tree.below_root(path), kind, self.tree.freed(path), why))
            return True
        return False

    def rest(self, path: pathlib.Path, found: os.stat_result, kind: str, why: str) -> None:
        """Note something unfinished that nobody works on; it may lie in what is kept, which it is no part of."""
        left = self.now - found.st_mtime > self.stale and not self.touches(path, self.busy)
        if kind in self.kinds and left and not self.tree.holds_mount(path):
            self.items.append(Item(self.tree.below_root(path), kind, self.tree.freed(path), why))

    def judge(self) -> None:
        """Go through the root once."""
        root = self.tree.root
        stack = [(name, path, found) for name, path, found in self.tree.children(root) if name != "lost+found"]
        caches = [root]
        if self.tree.own_directory(root / "hub"):
            caches.append(root / "hub")
        for name, path, found in stack:
            self.entry(name, path, found, caches)
        if len(caches) > 1:
            for name, path, found in self.tree.children(root / "hub"):
                self.entry(name, path, found, caches)
        for cache in caches:
            self.shared_store(cache / "blobs")
        self.asked_for()
        order = {kind: index for index, kind in enumerate(("named", *KINDS))}
        self.items.sort(key=lambda item: (order[item.kind], item.path))
        self.items = without_nested(self.items)

    def entry(self, name: str, path: pathlib.Path, found: os.stat_result, caches: Sequence[pathlib.Path]) -> None:
        """One entry of the root, of its `hub` or of a directory of models."""
        if path in caches or path in (cache / "blobs" for cache in caches) or name in (".locks", "version.txt"):
            return
        directory = stat.S_ISDIR(found.st_mode)
        if directory and path in self.tree.mounts:
            self.report(path, "something else is mounted there")
        elif directory and REPOSITORY.fullmatch(name) and path.parent in caches and is_repository(self.tree, path):
            self.repository(path)
        elif directory and (self.tree.own_directory(path) and plain_file(path / MANIFEST)):
            self.model(path)
        elif directory and name in COMPILE_CACHES:
            self.compile_cache(path)
        elif directory and self.holds_models(path):
            for inner, child, entry in self.tree.children(path):
                self.entry(inner, child, entry, caches)
        elif path in self.kept:
            pass
        elif path in self.known:
            self.unfinished_in(path)
        else:
            self.report(path, "no rule knows it")

    def holds_models(self, path: pathlib.Path) -> bool:
        """Whether a directory is there for models that lie in it, such as that of an organisation."""
        if any(path in other.parents for other in (*self.known, *self.kept)):
            return True
        return any(
            plain_file(child / MANIFEST) for _, child, found in self.tree.children(path) if stat.S_ISDIR(found.st_mode)
        )

    def model(self, path: pathlib.Path) -> None:
        """A directory that this package filled."""
        self.unfinished_in(path)
        manifest = None
        with contextlib.suppress(Wrong):
            manifest = read_manifest(path / MANIFEST)
        named = path in self.known or path in self.kept or self.touches(path, self.kept)
        standing = "kept" if self.touches(path, self.kept) else "known" if named else "unnamed"
        files = manifest["files"] if manifest else []
        proof = Proof(path)
        self.models.append(
            {
                "path": self.tree.below_root(path),
                "name": manifest["name"] if manifest else "",
                "standing": "in transfer" if path in self.busy else standing,
                "files": len(files),
                "bytes": sum(entry["size"] for entry in files),
                "unproven": sum(not proof.holds(entry) for entry in files),
            }
        )
        if not named:
            self.may_go(path, "unnamed", "no recipe names this model")

    def unfinished_in(self, path: pathlib.Path) -> None:
        """Rests of transfers in a model's directory, unless one is under way."""
        if not self.tree.own_directory(path):
            return
        if is_locked(path):
            self.busy.add(path)
            return
        for child, found in self.tree.below(path):
            if stat.S_ISREG(found.st_mode) and child.name.endswith((PARTIAL, RECEIVED)):
                self.rest(child, found, "partial", "the rest of a transfer that nobody resumed")
            if stat.S_ISREG(found.st_mode) and child.name.endswith(".incomplete"):
                self.rest(child, found, "incomplete", "a download that nobody resumed")

    def repository(self, path: pathlib.Path) -> None:
        """A repository in a hub's cache."""
        named = REPOSITORY.fullmatch(path.name)
        if not named:
            return
        name = f"{named['org']}/{named['name']}"
        blobs = {child: found for _, child, found in self.tree.children(path / "blobs")}
        snapshots = {
            child: name for name, child, found in self.tree.children(path / "snapshots") if stat.S_ISDIR(found.st_mode)
        }
        if any(self.now - found.st_mtime <= self.stale for child, found in blobs.items() if is_incomplete(child)):
            self.busy.add(path)
        instead = self.policy.get("bypassed", {}).get(name)
        served = self.tree.root / instead if instead else None
        stays = path in self.known or path in self.busy or self.touches(path, self.kept)
        reason: tuple[str, str] | None
        if served and path not in served.parents and whole(served):
            reason = ("bypassed", f"{instead} holds the same model whole, and that is what is served")
        else:
            reason = None if stays else ("unnamed", f"no recipe names {name}")
        if reason and self.may_go(path, *reason):
            return
        for child, found in blobs.items():
            if is_incomplete(child):
                self.rest(child, found, "incomplete", f"a download of {name} that nobody resumed")
        if path in self.kept:
            return  # As it is: somebody keeps the cache, and not only a revision in it.
        current = self.revisions_in_use(path, snapshots)
        old = [child for child in snapshots if current and snapshots[child] not in current]
        gone = [child for child in old if self.may_go(child, "revision", f"an old revision of {name}")]
        used = {
            target
            for snapshot in snapshots
            if snapshot not in gone
            for child, found in self.tree.below(snapshot)
            if stat.S_ISLNK(found.st_mode)
            for target in (pathlib.Path(os.path.normpath(child.parent / child.readlink())),)
        }
        if path in self.busy:
            return
        for child, found in blobs.items():
            left = child not in used and not is_incomplete(child) and self.now - found.st_mtime > self.stale
            own = not self.touches(child, self.kept - {path}) and not self.tree.holds_mount(child)
            if left and own and "orphan" in self.kinds:
                why = f"no revision of {name} uses it"
                self.items.append(Item(self.tree.below_root(child), "orphan", self.tree.freed(child), why))

    def revisions_in_use(self, path: pathlib.Path, snapshots: Mapping[pathlib.Path, str]) -> set[str]:
        """Commits that a branch or tag names, or that something kept lies in."""
        named = set()
        for child, found in self.tree.below(path / "refs"):
            if stat.S_ISREG(found.st_mode) and found.st_size < 200:
                named.add(child.read_text(errors="replace").strip())
        return named | {name for child, name in snapshots.items() if self.touches(child, self.kept - {path})}

    def shared_store(self, path: pathlib.Path) -> None:
        """The store of a cache that its repositories share: a blob goes when none of them links to it."""
        if not self.tree.own_directory(path) or not plain_file(path / STORE_MARK):
            return
        cache, used = path.parent, set[pathlib.Path]()
        for _, repository, found in self.tree.children(cache):
            if stat.S_ISDIR(found.st_mode) and REPOSITORY.fullmatch(repository.name):
                for _, blob, entry in self.tree.children(repository / "blobs"):
                    if stat.S_ISLNK(entry.st_mode):
                        used.add(pathlib.Path(os.path.normpath(blob.parent / blob.readlink())))
        for blob, found in self.tree.below(path):
            if not stat.S_ISREG(found.st_mode) or blob.name == STORE_MARK or blob in used:
                continue
            if re.fullmatch(r"[0-9a-f]{64}", blob.name) and self.now - found.st_mtime > self.stale:
                self.may_go(blob, "orphan", "no repository of the cache uses it")

    def compile_cache(self, path: pathlib.Path) -> None:
        """What a compiler left for an image: older than every image on this host, it belongs to none of them."""
        if self.images_since and self.tree.newest(path) < self.images_since:
            self.may_go(path, "compile-cache", "it is older than every image on this host")
        else:
            self.report(path, "a cache of compiled kernels that an image on this host may use")

    def asked_for(self) -> None:
        """What somebody named, whatever it is; what stays is refused and not passed over."""
        for name in self.policy.get("named", ()):
            path = pathlib.Path(os.path.normpath(self.tree.root / name))
            if path == self.tree.root or self.tree.root not in path.parents or path.parent.resolve() != path.parent:
                raise Wrong(f"{name!r} is not below {self.tree.root}. Name something that `gx10 models list` shows.")
            if not os.path.lexists(path):
                continue  # It is on another host.
            if is_locked(path) or self.protected(path):
                raise Wrong(f"{name!r} is served, kept or in transfer. Change `recipe` or models.keep first.")
            self.items = [item for item in self.items if item.path != self.tree.below_root(path)]
            self.items.append(Item(self.tree.below_root(path), "named", self.tree.freed(path), "somebody named it"))

    def report(self, path: pathlib.Path, why: str) -> None:
        with contextlib.suppress(OSError):
            self.unknown.append({"path": self.tree.below_root(path), "bytes": self.tree.freed(path), "why": why})


def without_nested(items: Sequence[Item]) -> list[Item]:
    """Items of which none lies in another."""
    paths = {item.path for item in items}
    return [
        item
        for item in items
        if not any(str(parent) in paths for parent in pathlib.PurePosixPath(item.path).parents if str(parent) != ".")
    ]


def caches_of(root: pathlib.Path, names: Iterable[str]) -> set[pathlib.Path]:
    """Directories that a hub's cache has for ORG/NAME, below the root or its `hub`."""
    repositories = ["models--" + name.replace("/", "--") for name in names if name.count("/") == 1]
    return {root / cache / repository for cache in ("", "hub") for repository in repositories}


def is_repository(tree: Tree, path: pathlib.Path) -> bool:
    return all(tree.own_directory(path / part) for part in ("blobs", "snapshots")) or tree.own_directory(path / "refs")


def is_incomplete(path: pathlib.Path) -> bool:
    return path.name.endswith(".incomplete")


def whole(path: pathlib.Path) -> bool:
    """Whether a directory holds its manifest and every file is proven."""
    try:
        manifest = read_manifest(path / MANIFEST)
    except Wrong:
        return False
    proof = Proof(path)
    return manifest is not None and all(proof.holds(entry) for entry in manifest["files"])

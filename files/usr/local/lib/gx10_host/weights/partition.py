"""The model root of a host: what lies in it, what of it may go, and the removal of exactly that.

    gx10-host weights plan                  standing and plan as one JSON object; changes nothing
    gx10-host weights clean [--need BYTES]  remove what may go, in the plan's order, until that much is free
    gx10-host weights clean --approved DIGEST [--need BYTES]   the same, if the plan still is the one that was shown

The policy comes on standard input as JSON; `POLICY` says what is in it. Whatever it says: nothing outside of the root
is touched, no link is followed, no mount is entered, and what is served, kept or in transfer stays. What no rule can
name is reported and stays as well.

In one file because whoever removes must judge by the very rules that listed: the fences stand beside both.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import pathlib
import pwd
import re
import shutil
import stat
import subprocess
import sys
import time

from gx10_host.content.manifest import MANIFEST, PARTIAL, RECEIVED, Wrong, read_manifest, sync_directory
from gx10_host.content.proof import Proof

POLICY = {
    "root": "the model root",
    "mount": "whether the root must be a mount point",
    "keep": "paths below the root that stay; the served model is one of them",
    "keep_caches": "ORG/NAME of hub caches that stay",
    "known": "paths and ORG/NAME of models that recipes name: they are not `unnamed`",
    "bypassed": "ORG/NAME of a hub to the path below the root that is served instead of its cache",
    "kinds": "which kinds may go",
    "named": "paths below the root that somebody asked to remove, whatever rule they fall under",
    "stale_hours": "how long something unfinished must have been left alone",
}
KINDS = ("incomplete", "partial", "orphan", "bypassed", "revision", "compile-cache", "unnamed")
"""Kinds of what may go, the cheapest to have again first."""
COMPILE_CACHES = ("torch_compile_cache", "torchinductor", "triton", ".triton", "flashinfer", "vllm")
REPOSITORY = re.compile(r"models--(?P<org>[^/]+?)--(?P<name>[^/]+)")
STORE_MARK = ".huggingface-shared-blobs"
DOCKER_SECONDS = 60


@dataclasses.dataclass(frozen=True)
class Item:
    """Something that may go: a file, a link or a directory with all that is in it."""

    path: str
    """Below the root; bytes that are no text stand as surrogates."""
    kind: str
    bytes: int
    """What its removal frees: a file that has a name elsewhere too frees nothing."""
    why: str


class Tree:
    """The directories and files below the root, as far as they are the root's own: no links, no mounts."""

    def __init__(self, root, mounts):
        self.root, self.mounts = root, mounts

    def children(self, path):
        """Entries of a directory in order: name, path and lstat; nothing of what is no directory of ours."""
        if path != self.root and not self.own_directory(path):
            return
        try:
            names = sorted(os.listdir(path))  # noqa: PTH208 - names as they are
        except NotADirectoryError:
            return
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                yield name, path / name, (path / name).lstat()

    def own_directory(self, path):
        """Whether a path is a directory that neither is a link nor has something else mounted on it."""
        try:
            return stat.S_ISDIR(path.lstat().st_mode) and path not in self.mounts
        except OSError:
            return False

    def holds_mount(self, path):
        return any(mount == path or path in mount.parents for mount in self.mounts)

    def below(self, path):
        """Everything below a directory: path and lstat, each directory before what it holds."""
        for _, child, found in self.children(path):
            yield child, found
            if stat.S_ISDIR(found.st_mode):
                yield from self.below(child)

    def freed(self, path):
        """Bytes that the removal of a path frees."""
        found = path.lstat()
        entries = [(path, found), *(self.below(path) if stat.S_ISDIR(found.st_mode) else ())]
        names = {}
        for _, entry in entries:
            names.setdefault((entry.st_dev, entry.st_ino), []).append(entry)
        # A file that also has a name elsewhere keeps its bytes.
        return sum(
            same[0].st_blocks * 512
            for same in names.values()
            if stat.S_ISDIR(same[0].st_mode) or same[0].st_nlink <= len(same)
        )

    def newest(self, path):
        """When anything in a path was last written, in seconds."""
        found = path.lstat()
        times = [found.st_mtime, *(entry.st_mtime for _, entry in self.below(path))]
        return max(times)

    def below_root(self, path):
        return str(path.relative_to(self.root))


class Rules:
    """What stays whatever else is said of it, and what each thing in the root is."""

    def __init__(self, tree, policy, running=(), images_since=0.0, now=None):
        self.tree, self.policy = tree, policy
        self.now = time.time() if now is None else now
        self.images_since = images_since
        self.stale = float(policy.get("stale_hours", 24)) * 3600
        self.kinds = set(policy.get("kinds", KINDS))
        self.items, self.unknown, self.models = [], [], []
        root = tree.root
        keep = [*policy.get("keep", ()), *(str(path) for path in running)]
        # Also where a kept name is a link inside the root: what it leads to stays too.
        self.kept = {root / name for name in keep} | {(root / name).resolve() for name in keep}
        self.kept |= caches_of(root, policy.get("keep_caches", ()))
        known = {*policy.get("known", ()), *keep}
        self.known = {root / name for name in known} | caches_of(root, known)
        self.busy = set()

    def protected(self, path):
        """Whether a path is kept, holds something kept, lies in it, or has a mount in it."""
        return self.touches(path, self.kept) or self.touches(path, self.busy) or self.tree.holds_mount(path)

    def touches(self, path, others):
        return any(path == other or other in path.parents or path in other.parents for other in others)

    def may_go(self, path, kind, why):
        """Note something that may go, unless it is protected or its kind is not to be removed."""
        if kind in self.kinds and not self.protected(path):
            self.items.append(Item(self.tree.below_root(path), kind, self.tree.freed(path), why))
            return True
        return False

    def rest(self, path, found, kind, why):
        """Note something unfinished that nobody works on; it may lie in what is kept, which it is no part of."""
        left = self.now - found.st_mtime > self.stale and not self.touches(path, self.busy)
        if kind in self.kinds and left and not self.tree.holds_mount(path):
            self.items.append(Item(self.tree.below_root(path), kind, self.tree.freed(path), why))

    def judge(self):
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

    def entry(self, name, path, found, caches):
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

    def holds_models(self, path):
        """Whether a directory is there for models that lie in it, such as that of an organisation."""
        if any(path in other.parents for other in (*self.known, *self.kept)):
            return True
        return any(
            plain_file(child / MANIFEST) for _, child, found in self.tree.children(path) if stat.S_ISDIR(found.st_mode)
        )

    def model(self, path):
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

    def unfinished_in(self, path):
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

    def repository(self, path):
        """A repository in a hub's cache."""
        named = REPOSITORY.fullmatch(path.name)
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

    def revisions_in_use(self, path, snapshots):
        """Commits that a branch or tag names, or that something kept lies in."""
        named = set()
        for child, found in self.tree.below(path / "refs"):
            if stat.S_ISREG(found.st_mode) and found.st_size < 200:
                named.add(child.read_text(errors="replace").strip())
        return named | {name for child, name in snapshots.items() if self.touches(child, self.kept - {path})}

    def shared_store(self, path):
        """The store of a cache that its repositories share: a blob goes when none of them links to it."""
        if not self.tree.own_directory(path) or not plain_file(path / STORE_MARK):
            return
        cache, used = path.parent, set()
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

    def compile_cache(self, path):
        """What a compiler left for an image: older than every image on this host, it belongs to none of them."""
        if self.images_since and self.tree.newest(path) < self.images_since:
            self.may_go(path, "compile-cache", "it is older than every image on this host")
        else:
            self.report(path, "a cache of compiled kernels that an image on this host may use")

    def asked_for(self):
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

    def report(self, path, why):
        with contextlib.suppress(OSError):
            self.unknown.append({"path": self.tree.below_root(path), "bytes": self.tree.freed(path), "why": why})


def without_nested(items):
    """Items of which none lies in another."""
    paths = {item.path for item in items}
    return [
        item
        for item in items
        if not any(str(parent) in paths for parent in pathlib.PurePosixPath(item.path).parents if str(parent) != ".")
    ]


def caches_of(root, names):
    """Directories that a hub's cache has for ORG/NAME, below the root or its `hub`."""
    repositories = ["models--" + name.replace("/", "--") for name in names if name.count("/") == 1]
    return {root / cache / repository for cache in ("", "hub") for repository in repositories}


def is_repository(tree, path):
    return all(tree.own_directory(path / part) for part in ("blobs", "snapshots")) or tree.own_directory(path / "refs")


def is_incomplete(path):
    return path.name.endswith(".incomplete")


def plain_file(path):
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def whole(path):
    """Whether a directory holds its manifest and every file is proven."""
    try:
        manifest = read_manifest(path / MANIFEST)
    except Wrong:
        return False
    proof = Proof(path)
    return bool(manifest) and all(proof.holds(entry) for entry in manifest["files"])


def is_locked(path):
    """Whether a transfer or a check works in a directory."""
    if path.is_symlink() or not path.is_dir():
        return False
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def fenced(policy):
    """The root as it physically is; one that cannot be a model root is refused."""
    given = pathlib.Path(policy["root"])
    root = given.resolve()
    homes = {pathlib.Path(user.pw_dir).resolve() for user in pwd.getpwall()} | {
        pathlib.Path("/home"),
        pathlib.Path("/root"),
    }
    system = {
        pathlib.Path(f"/{name}")
        for name in (
            "",
            "bin",
            "boot",
            "dev",
            "etc",
            "lib",
            "opt",
            "proc",
            "run",
            "sbin",
            "srv",
            "sys",
            "tmp",
            "usr",
            "var",
            "var/lib",
        )
    }
    if root in system or root in homes or any(root in home.parents for home in homes):
        raise Wrong(
            f"{given} is {root}, which is no directory of models. Correct paths.model_root in the cluster file."
        )
    if not root.is_dir():
        raise Wrong(f"{given} does not exist on this host. Run the deploy.")
    if policy.get("mount") and root not in mount_points():
        raise Wrong(f"{given} is not a mount point, and models.mount says that it is one. Mount the partition first.")
    return root


def mounts_below(root):
    """Mount points strictly below the root."""
    return {path for path in mount_points() if root in path.parents}


def mount_points():
    """Every mount point, also those of directories of the same file system, which look like any other."""
    found = set()
    for line in pathlib.Path("/proc/self/mountinfo").read_bytes().splitlines():
        escaped = line.split(b" ")[4]
        point = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), escaped)
        found.add(pathlib.Path(os.fsdecode(point)))
    return found


def docker(*words):
    try:
        done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=DOCKER_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Wrong(
            f"Docker does not answer ({error}), so nobody knows what is served. Start it, then run again."
        ) from None
    if done.returncode:
        raise Wrong(
            f"Docker does not answer: {done.stderr.strip()}. Nobody knows what is served; start it, then run again."
        )
    return done.stdout


def in_use(root):
    """Paths below the root that the command of a running container names through one of its mounts."""
    used = set()
    running = docker("ps", "--quiet", "--no-trunc").split()
    for told in json.loads(docker("container", "inspect", *running)) if running else ():
        words = [*(told.get("Args") or ()), *(told["Config"].get("Cmd") or ()), *(told["Config"].get("Env") or ())]
        for mount in told.get("Mounts") or ():
            source, target = (
                pathlib.Path(mount.get("Source") or "/dev/null"),
                (mount.get("Destination") or "").rstrip("/"),
            )
            if source != root and root not in source.parents and source not in root.parents:
                continue
            if root in source.parents:
                used.add(source.relative_to(root))  # Mounted by itself, so used as a whole.
                continue
            for word in words:
                for match in re.finditer(re.escape(target) + r"/([^\s'\",:=]+)", word) if target else ():
                    path = pathlib.Path(os.path.normpath(source / match[1]))
                    if root in path.parents:
                        used.add(path.relative_to(root))
    return used


def oldest_image():
    """When the oldest image on this host was made, in seconds; 0 where there is none, and nothing can be said."""
    identifiers = docker("image", "ls", "--quiet", "--no-trunc").split()
    if not identifiers:
        return 0.0
    made = docker("image", "inspect", "--format", "{{.Created}}", *sorted(set(identifiers))).split("\n")
    return min(time.mktime(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) for text in made if text.strip())


def judged(policy):
    """The rules applied to this host's model root."""
    root = fenced(policy)
    rules = Rules(Tree(root, mounts_below(root)), policy, in_use(root), oldest_image())
    rules.judge()
    return rules


def digest_of(items):
    """What tells two plans apart; sizes may change while something is written elsewhere."""
    told = [[item.path, item.kind] for item in items]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def told(rules):
    usage = shutil.disk_usage(rules.tree.root)
    return {
        "root": str(rules.tree.root),
        "total": usage.total,
        "free": usage.free,
        "models": rules.models,
        "items": [dataclasses.asdict(item) for item in rules.items],
        "unknown": rules.unknown,
        "digest": digest_of(rules.items),
    }


def remove(tree, item):
    """Remove one item, never through a link and never into a mount; what has become something else stays."""
    path = tree.root / item.path
    if path.parent.resolve() != path.parent or tree.root not in path.parents or tree.holds_mount(path):
        raise Wrong(f"{path} now leads out of {tree.root}. It was left alone; look at who changed it.")
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        path.unlink()
        return
    device = tree.root.stat().st_dev
    # From a descriptor to the next, so that a directory that becomes a link meanwhile is not followed.
    for _, directories, files, descriptor in os.fwalk(path, topdown=False, follow_symlinks=False):
        if os.fstat(descriptor).st_dev != device:
            raise Wrong(f"Another file system is mounted in {path}. It was left alone.")
        for name in files:
            os.unlink(name, dir_fd=descriptor)
        for name in directories:
            if stat.S_ISLNK(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=descriptor)
            else:
                os.rmdir(name, dir_fd=descriptor)
    path.rmdir()


def clean(rules, need):
    """Remove items in the plan's order until enough is free, or all of them; what was removed."""
    gone = []
    for item in rules.items:
        if need is not None and shutil.disk_usage(rules.tree.root).free >= need:
            break
        path = rules.tree.root / item.path
        if is_locked(path):
            continue  # A transfer began since the plan was made.
        remove(rules.tree, item)
        sync_directory(path.parent)
        gone.append(item)
        print(
            f"removed {item.path!r} ({item.kind}, {item.bytes / 1e6:.1f} MB): {item.why}", file=sys.stderr, flush=True
        )
    return gone


def main(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("plan")
    command = commands.add_parser("clean")
    command.add_argument("--need", type=int)
    command.add_argument("--approved")
    arguments = parser.parse_args(argv)
    try:
        rules = judged(json.load(sys.stdin))
        answer = told(rules)
        if arguments.command == "clean":
            if arguments.approved and arguments.approved != answer["digest"]:
                raise Wrong("The plan is not the one that was shown any more. Look at `gx10 models plan` again.")
            answer["removed"] = [dataclasses.asdict(item) for item in clean(rules, arguments.need)]
            answer["free"] = shutil.disk_usage(rules.tree.root).free
        print(json.dumps(answer))
    except (Wrong, OSError) as error:
        sys.exit(f"partition: {error}")

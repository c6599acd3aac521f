"""The model root: what goes from the model root lies in it, is never kept or served, and is what the plan named."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gx10_host.content import manifest as manifests
from gx10_host.disk import mount_points
from gx10_host.weights.fence import mounts_below
from gx10_host.weights.remove import clean as clean_up
from gx10_host.weights.rules import KINDS, Item, Rules
from gx10_host.weights.tree import Tree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .host_side import SECONDS, command_on_path, refused, words
from .test_host_content import MANIFEST, bytes_of, entry_of, shards, stage

OLD = time.time() - 100 * 3600
DOCKER = """
import json, os, sys
told = json.loads(os.environ["TOLD"])
if told is None:
    sys.exit("Cannot connect to the Docker daemon")
if sys.argv[1] == "ps":
    print("\\n".join(str(index) for index in range(len(told))))
elif sys.argv[1:3] == ["container", "inspect"]:
    print(json.dumps(told))
elif sys.argv[1:3] == ["image", "ls"]:
    print("sha256:1")
else:
    print("2099-01-01T00:00:00.5Z")
"""


def container(root: Path, *command: str) -> dict[str, object]:
    """A running container with the model root mounted where the engine's has it."""
    mounts = [{"Source": str(root), "Destination": "/root/.cache/huggingface"}]
    return {"Args": [], "Config": {"Cmd": list(command), "Env": []}, "Mounts": mounts}


def ask(
    tmp_path: Path, root: Path, *arguments: str, running: object = (), **policy: object
) -> subprocess.CompletedProcess[str]:
    """Run the program as a host does."""
    env = command_on_path(tmp_path / "bin", "docker", DOCKER)
    told = {"root": str(root), "stale_hours": 24, **policy}
    return subprocess.run(
        words("weights", *arguments),
        input=json.dumps(told),
        env={**os.environ, **env, "TOLD": json.dumps(None if running is None else list(running))},  # type: ignore[call-overload]
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def planned(tmp_path: Path, root: Path, **policy: object) -> dict[str, str]:
    """Kind by path of what the plan names."""
    done = ask(tmp_path, root, "plan", **policy)
    assert done.returncode == 0, done.stderr
    return {item["path"]: item["kind"] for item in json.loads(done.stdout)["items"]}


def aged(path: Path) -> Path:
    """Make a path, and what is in it, look left alone for days."""
    for each in [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path]:
        os.utime(each, (OLD, OLD), follow_symlinks=False)
    return path


def model(root: Path, name: str) -> Path:
    """A model that was staged."""
    with tempfile.TemporaryDirectory() as source:
        assert stage(shards(Path(source) / "source", 1, 5000), root / name).returncode == 0
    return root / name


def hub_cache(cache: Path, name: str, revisions: int = 1) -> Path:
    """A repository in a hub's cache; the last revision is the branch's."""
    repository = cache / f"models--{name.replace('/', '--')}"
    for part in ("blobs", "refs"):
        (repository / part).mkdir(parents=True)
    for revision in range(revisions):
        blob = repository / "blobs" / f"{revision:064x}"
        blob.write_bytes(bytes_of(revision, 3000))
        pointer = repository / "snapshots" / f"{revision:040x}" / "model.safetensors"
        pointer.parent.mkdir(parents=True)
        pointer.symlink_to(os.path.relpath(blob, pointer.parent))
        (repository / "refs/main").write_text(f"{revision:040x}")
    return repository


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A model root."""
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def test_each_kind_is_named_and_what_nobody_knows_is_reported(tmp_path: Path, root: Path) -> None:
    model(root, "org/served")
    model(root, "org/gone")
    (root / "org/served/model-9.safetensors.partial").write_bytes(b"half")
    repository = hub_cache(root / "hub", "other/known", revisions=2)
    (repository / "blobs/abc.incomplete").write_bytes(b"half")
    (repository / "blobs" / ("f" * 64)).write_bytes(b"orphan")
    hub_cache(root, "org/served")
    (root / "torch_compile_cache/abc").mkdir(parents=True)
    (root / "notes.txt").write_text("mine")
    for path in (root / "hub", root / "models--org--served", root / "org/served/model-9.safetensors.partial"):
        aged(path)
    policy = {"keep": ["org/served"], "known": ["org/served", "other/known"], "bypassed": {"org/served": "org/served"}}
    assert planned(tmp_path, root, **policy) == {
        "hub/models--other--known/blobs/abc.incomplete": "incomplete",
        "org/served/model-9.safetensors.partial": "partial",
        f"hub/models--other--known/blobs/{'f' * 64}": "orphan",
        "hub/models--other--known/snapshots/" + "0" * 40: "revision",
        "hub/models--other--known/blobs/" + "0" * 64: "orphan",
        "models--org--served": "bypassed",
        "torch_compile_cache": "compile-cache",
        "org/gone": "unnamed",
    }
    told = json.loads(ask(tmp_path, root, "plan", **policy).stdout)
    assert [item["path"] for item in told["unknown"]] == ["notes.txt"]
    assert {each["path"]: each["standing"] for each in told["models"]} == {"org/served": "kept", "org/gone": "unnamed"}


def test_clean_removes_exactly_the_plan(tmp_path: Path, root: Path) -> None:
    model(root, "served")
    model(root, "gone")
    kept = {path: path.stat().st_ino for path in (root / "served").rglob("*")}
    before = json.loads(ask(tmp_path, root, "plan", keep=["served"]).stdout)
    done = ask(tmp_path, root, "clean", "--approved", before["digest"], keep=["served"])
    assert done.returncode == 0, done.stderr
    assert [item["path"] for item in json.loads(done.stdout)["removed"]] == ["gone"]
    assert not (root / "gone").exists()
    assert {path: path.stat().st_ino for path in (root / "served").rglob("*")} == kept
    (root / "new").mkdir()
    model(root, "later")
    refused(ask(tmp_path, root, "clean", "--approved", before["digest"], keep=["served"]), "not the one that was shown")
    assert (root / "later").exists()


def test_clean_stops_when_enough_is_free(tmp_path: Path, root: Path) -> None:
    model(root, "one")
    model(root, "two")
    done = ask(tmp_path, root, "clean", "--need", "1")
    assert json.loads(done.stdout)["removed"] == []
    assert (root / "one").exists()
    assert (root / "two").exists()


def test_what_a_running_container_names_stays_whatever_the_policy_says(tmp_path: Path, root: Path) -> None:
    model(root, "org/old")
    command = ("vllm", "serve", "/root/.cache/huggingface/org/old", "--port", "8000")
    assert planned(tmp_path, root, running=[container(root, *command)]) == {}
    assert planned(tmp_path, root) == {"org/old": "unnamed"}
    refused(ask(tmp_path, root, "plan", running=[container(root, *command)], named=["org/old"]), "is served, kept")


def test_a_docker_that_does_not_answer_keeps_everything(tmp_path: Path, root: Path) -> None:
    model(root, "old")
    refused(ask(tmp_path, root, "clean", running=None), "obody knows what is served", "Docker does not answer")
    assert (root / "old").exists()


def test_what_is_in_transfer_stays(tmp_path: Path, root: Path) -> None:
    old = aged(model(root, "old"))
    (old / "x.partial").write_bytes(b"half")
    aged(old / "x.partial")
    assert set(planned(tmp_path, root, keep=["old"])) == {"old/x.partial"}
    descriptor = os.open(old, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert planned(tmp_path, root) == {}
    assert planned(tmp_path, root, keep=["old"]) == {}
    refused(ask(tmp_path, root, "plan", named=["old"]), "in transfer")
    os.close(descriptor)


def test_something_unfinished_stays_until_it_is_left_alone(tmp_path: Path, root: Path) -> None:
    repository = hub_cache(root, "org/known")
    (repository / "blobs/abc.incomplete").write_bytes(b"half")
    assert planned(tmp_path, root, known=["org/known"]) == {}
    aged(repository)
    assert set(planned(tmp_path, root, known=["org/known"])) == {"models--org--known/blobs/abc.incomplete"}


def test_a_shared_blob_goes_only_when_no_repository_links_to_it(tmp_path: Path, root: Path) -> None:
    repository = hub_cache(root, "org/known")
    (root / "blobs").mkdir()
    (root / "blobs/.huggingface-shared-blobs").write_text("1\n")
    for name in ("a" * 64, "b" * 64):
        (root / "blobs" / name[:2]).mkdir()
        (root / "blobs" / name[:2] / name).write_bytes(b"shared")
    (repository / "blobs" / ("c" * 64)).symlink_to(f"../../blobs/aa/{'a' * 64}")
    (repository / "snapshots" / ("0" * 40) / "more").symlink_to(f"../../blobs/{'c' * 64}")
    aged(root)
    assert set(planned(tmp_path, root, known=["org/known"])) == {f"blobs/bb/{'b' * 64}"}


def test_a_cache_is_bypassed_only_by_a_directory_that_proves_whole(tmp_path: Path, root: Path) -> None:
    hub_cache(root, "org/served")
    flat = model(root, "org/served")
    policy = {"keep": ["org/served"], "known": ["org/served"], "bypassed": {"org/served": "org/served"}}
    assert planned(tmp_path, root, **policy) == {"models--org--served": "bypassed"}
    (flat / "config.json").unlink()
    assert planned(tmp_path, root, **policy) == {}


@pytest.mark.parametrize("given", ["/", "/home", "/root", "/usr", "/srv", "link"], ids=str)
def test_a_root_that_cannot_be_one_is_refused(tmp_path: Path, given: str) -> None:
    (tmp_path / "link").symlink_to("/etc")
    refused(ask(tmp_path, tmp_path / given, "clean"), "no directory of models")


def test_a_root_that_is_no_mount_is_refused_where_one_is_demanded(tmp_path: Path, root: Path) -> None:
    refused(ask(tmp_path, root, "clean", mount=True), "not a mount point")


@pytest.mark.parametrize("named", ["../outside", "/etc/passwd", ".", "", "out/victim", "kept", "kept/config.json"])
def test_only_something_below_the_root_that_is_not_kept_can_be_named(tmp_path: Path, root: Path, named: str) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/victim").write_text("untouched")
    (root / "out").symlink_to(tmp_path / "outside")
    model(root, "kept")
    done = ask(tmp_path, root, "clean", keep=["kept"], named=[named])
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert (tmp_path / "outside/victim").read_text() == "untouched"
    assert (root / "kept/config.json").exists()


def test_unknown_things_go_when_they_are_named(tmp_path: Path, root: Path) -> None:
    (root / "-rf\n*").mkdir()
    (root / "-rf\n*/file").write_text("x")
    assert planned(tmp_path, root) == {}
    assert ask(tmp_path, root, "clean", named=["-rf\n*"]).returncode == 0
    assert list(root.iterdir()) == []


LIBC = ctypes.CDLL(None, use_errno=True)
MS_BIND = 4096


@contextlib.contextmanager
def bound(source: Path, target: Path) -> Iterator[bool]:
    """Mount a directory on another; False where this machine does not allow it."""
    done = LIBC.mount(os.fsencode(source), os.fsencode(target), None, MS_BIND, None) == 0
    try:
        yield done
    finally:
        if done:
            LIBC.umount2(os.fsencode(target), 2)


def test_a_mount_is_neither_entered_nor_removed(tmp_path: Path, root: Path) -> None:
    old = model(root, "old")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/victim").write_text("untouched")
    (old / "mounted").mkdir()
    with bound(tmp_path / "outside", old / "mounted") as possible:
        if not possible:
            pytest.fail("bind mounts need root, which the lab's tests have")
        assert planned(tmp_path, root) == {}
        refused(ask(tmp_path, root, "clean", named=["old"]), "is served, kept")
    assert (tmp_path / "outside/victim").read_text() == "untouched"
    assert planned(tmp_path, root) == {"old": "unnamed"}


NAMES = st.sampled_from(
    [b"a", b"b", b"hub", b"blobs", b"snapshots", b"refs", b"models--org--m", b"models--x--y", b"-rf", b"new\nline",
     b"\xff\xfe", b"x.partial", b"x.incomplete", b"y.received", b"f" * 64, b"torch_compile_cache", b"org", b"served",
     b" ", b"*", b".h", MANIFEST.encode(), b".huggingface-shared-blobs"]
)  # fmt: skip
LEAF = st.sampled_from(["file", "empty", "link in", "link out", "link up", "model", "mount", "hard link"])
TREES = st.recursive(LEAF, lambda below: st.dictionaries(NAMES, below, max_size=5), max_leaves=25)
PATHS = st.lists(st.lists(NAMES, min_size=1, max_size=3).map(b"/".join), max_size=3)


def build(directory: bytes, tree: object, outside: bytes, mounted: list[bytes]) -> None:
    """Make a tree on the disk."""
    if isinstance(tree, dict):
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory)  # noqa: PTH102 - names that are no text
        for name, below in tree.items():
            build(directory + b"/" + name, below, outside, mounted)
        return
    path = Path(os.fsdecode(directory))
    if tree == "link in":
        path.symlink_to("../a")
    elif tree == "link out":
        path.symlink_to(os.fsdecode(outside))
    elif tree == "link up":
        path.symlink_to("..")
    elif tree == "hard link":
        path.hardlink_to(os.fsdecode(outside + b"/victim"))
    elif tree in ("model", "mount"):
        path.mkdir()
        (path / "shard").write_bytes(b"weights")
        manifests.write_json(path / MANIFEST, {"name": "m", "files": [entry_of("shard", b"weights")]})
        if tree == "mount":
            (path / "shard").unlink()
            (path / MANIFEST).unlink()
            if LIBC.mount(outside, directory, None, MS_BIND, None) == 0:
                mounted.append(directory)
    else:
        path.write_bytes(b"" if tree == "empty" else b"content")


def everything(top: Path, mounted: list[bytes]) -> dict[bytes, tuple[int, int]]:
    """Identity of all that stands below a directory, by path, without entering links and mounts."""
    found = {}
    for parent, directories, files in os.walk(os.fsencode(top)):
        for name in [*directories, *files]:
            path = parent + b"/" + name
            told = os.lstat(path)
            found[os.path.relpath(path, os.fsencode(top))] = (told.st_dev, told.st_ino)
        directories[:] = [name for name in directories if parent + b"/" + name not in mounted]
    return found


POLICIES = st.fixed_dictionaries(
    {
        "keep": PATHS, "keep_caches": st.just([b"x/y"]) | st.just([]), "known": PATHS, "named": PATHS,
        "kinds": st.sets(st.sampled_from(KINDS)).map(sorted), "stale_hours": st.sampled_from([0, 24]),
    }
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    tree=st.dictionaries(NAMES, TREES, max_size=6),
    policy=POLICIES,
    running=PATHS,
    need=st.sampled_from([None, 0, 1 << 60]),
)
def test_only_what_the_plan_named_goes_and_never_what_is_kept_or_outside(
    tree: dict[bytes, object], policy: dict[str, list[bytes]], running: list[bytes], need: int | None
) -> None:
    keep = policy["keep"]
    with tempfile.TemporaryDirectory(prefix="gx10-partition-") as name:
        top = Path(name).resolve()
        root, outside, mounted = top / "models", top / "outside", []  # type: tuple[Path, Path, list[bytes]]
        outside.mkdir()
        (outside / "victim").write_text("untouched")
        try:
            build(os.fsencode(root), tree, os.fsencode(outside), mounted)
            root.mkdir(exist_ok=True)
            told = {key: text(value) for key, value in policy.items()} | {"bypassed": {"org/m": "org/served"}}
            space = Tree(root, mounts_below(root))
            rules = Rules(space, told, [Path(os.fsdecode(path)) for path in running], time.time() + 10)
            before = everything(top, mounted)
            try:
                rules.judge()
            except manifests.Wrong:
                assert everything(top, mounted) == before, "something went although the policy was refused"
                return
            assert everything(top, mounted) == before, "a plan changed something"
            items = {os.fsencode(item.path): item for item in rules.items}
            gone = clean_up(rules, need)
            after = everything(top, mounted)
            removed = {path.removeprefix(b"models/") for path in before if path not in after}
            assert all(path.startswith(b"models/") for path in before if path not in after), "something outside went"
            assert (outside / "victim").read_text() == "untouched"
            assert {os.fsencode(item.path) for item in gone} <= items.keys()
            if need is None:
                assert {os.fsencode(item.path) for item in gone} == items.keys(), "the plan named more than went"
            covered = {path for path in removed if any(is_at_or_below(path, item) for item in items)}
            assert removed == covered, "something went that the plan did not name"
            assert not any(os.path.lexists(root / item.path) for item in gone)
            for kept in [*keep, *running]:
                assert not [path for path in removed if is_at_or_below(kept, path) and path != kept]
                inside = {kind_of(items, path) for path in removed if is_at_or_below(path, kept)}
                assert inside <= {"partial", "incomplete"}, "more than rests of transfers went from what is kept"
            assert {Path(os.fsdecode(mount)) for mount in mounted} <= mount_points()
        finally:
            for mount in reversed(mounted):
                LIBC.umount2(mount, 2)


def text(value: object) -> object:
    """A policy as JSON brings it: names that are no text as surrogates."""
    return [os.fsdecode(each) for each in value] if isinstance(value, list) else value


def is_at_or_below(path: bytes, other: bytes) -> bool:
    return path == other or path.startswith(other + b"/")


def kind_of(items: dict[bytes, Item], path: bytes) -> str:
    return next(item.kind for item_path, item in items.items() if is_at_or_below(path, item_path))

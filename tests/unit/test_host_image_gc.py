"""image_gc.py on a host: it removes by name what the policy does not keep, and nothing else, as its plan said."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .host_side import command_on_path, refused, run

DOCKER = r"""
import json, os, pathlib, sys
home = pathlib.Path(os.environ["FAKE_DOCKER"])
state = json.loads((home / "state.json").read_text())
words = sys.argv[1:]
if words[0] == "info":
    print(home)
else:
    if words[:2] == ["image", "rm"]:
        name = words[-1]
        for image in state["images"]:
            image["RepoTags"] = [tag for tag in image["RepoTags"] if tag != name]
        state["images"] = [i for i in state["images"] if i["Id"] != name and (i["RepoTags"] or i.get("nameless"))]
    elif words[:2] == ["builder", "prune"]:
        identity = words[-1].removeprefix("id=")
        state["cache"] = [record for record in state["cache"] if record["ID"] != identity]
    else:
        sys.exit(f"unknown command {words}")
    (home / "state.json").write_text(json.dumps(state))
    with (home / "changed").open("a") as log:
        log.write(" ".join(words) + "\n")
"""
MB = 1_000_000


def http_answer(told: object) -> bytes:
    """A JSON answer."""
    body = json.dumps(told)
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


class Host:
    """A host's Docker, archive and policy in a directory."""

    def __init__(self, home: Path) -> None:
        self.home, self.archive, self.builds = home, home / "archive", home / "build"
        home.mkdir(parents=True, exist_ok=True)
        self.env = {**command_on_path(home / "bin", "docker", DOCKER), "FAKE_DOCKER": str(home)}
        self.state: dict[str, Any] = {"images": [], "containers": {}, "cache": []}
        self.policy: dict[str, Any] = {
            "described": "node:new",
            "keep_previous": 1,
            "keep_archives": 2,
            "archive_bytes": None,
            "cache_bytes": 5 * MB,
            "archive": str(self.archive),
            "builds": str(self.builds),
            "used": str(home / "used.json"),
            "docker": True,
        }

    def image(self, *tags: str, ours: bool = True, size: int = MB) -> str:
        """Have an image in Docker; its id."""
        identity = f"sha256:{len(self.state['images']):064d}"
        labels = {"gx10.inputs": "x"} if ours else None
        image = {"Id": identity, "RepoTags": list(tags), "Size": size, "Labels": labels}
        self.state["images"].append(image | ({} if tags else {"nameless": True}))
        return identity

    def archived(self, reference: str, **files: int) -> None:
        """Have an image in the archive: names of blobs and their sizes."""
        blobs = self.archive / "blobs/sha256"
        blobs.mkdir(parents=True, exist_ok=True)
        (self.archive / "images").mkdir(exist_ok=True)
        entries = []
        for name, size in files.items():
            (blobs / name).write_bytes(bytes(size))
            entries.append({"path": f"blobs/sha256/{name}", "size": size, "sha256": "0" * 64})
        manifest = {"name": reference, "files": entries, "layers": [], "stream": []}
        (self.archive / "images" / f"{reference.replace(':', '-')}.json").write_text(json.dumps(manifest))

    def used(self, *references: str) -> None:
        """Say which images were described before, the last one first."""
        (self.home / "used.json").write_text(json.dumps(references))

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the program with the policy."""
        (self.home / "state.json").write_text(json.dumps(self.state))
        policy = self.home / "policy.json"
        policy.write_text(json.dumps(self.policy))
        with self.daemon():
            done = run("images", *words, "--policy", policy, env=self.env)
        self.state = json.loads((self.home / "state.json").read_text())
        return done

    def told(self, path: str) -> object:
        """What the daemon says to a path of its API."""
        if path == "/v1.44/system/df?type=build-cache":
            return {"BuildCache": self.state["cache"]}
        if path == "/v1.44/containers/json?all=1":
            return [{"ImageID": image} for image in self.state["containers"].values()]
        assert path == "/v1.44/images/json?filters=" + quote('{"label": ["gx10.inputs"]}')
        return [image for image in json.loads((self.home / "state.json").read_text())["images"] if image["Labels"]]

    @contextlib.contextmanager
    def daemon(self) -> Iterator[None]:
        """Answer on the daemon's socket."""
        # A path of a socket must be short, so not in the test's own directory.
        with tempfile.TemporaryDirectory(prefix="gx10-") as place, socket.socket(socket.AF_UNIX) as listener:
            self.env["DOCKER_HOST"] = f"unix://{place}/docker.sock"
            listener.bind(f"{place}/docker.sock")
            listener.listen()

            def serve() -> None:
                while True:
                    try:
                        asking, _ = listener.accept()
                    except OSError:
                        return
                    with asking:
                        path = asking.recv(4096).split(b" ")[1].decode()
                        asking.sendall(http_answer(self.told(path)))

            thread = threading.Thread(target=serve)
            thread.start()
            try:
                yield
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                thread.join()

    def plan(self) -> set[tuple[str, str]]:
        """What would go: kind and name."""
        done = self.run("plan")
        assert done.returncode == 0, done.stderr
        return {(item["kind"], item["name"]) for item in json.loads(done.stdout)}

    def clean(self) -> set[tuple[str, str]]:
        """Remove it; what went."""
        done = self.run("clean")
        assert done.returncode == 0, done.stderr
        return {(item["kind"], item["name"]) for item in json.loads(done.stdout)}

    def tags(self) -> set[str]:
        """Names of the images that Docker has."""
        return {tag for image in self.state["images"] for tag in image["RepoTags"]}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host on which three generations were described."""
    host = Host(tmp_path / "host")
    host.used("node:old", "node:older")
    return host


def test_described_image_the_one_before_and_what_is_not_ours_stay(host: Host) -> None:
    for tag in ("node:new", "node:old", "node:older"):
        host.image(tag)
    host.image("cuda:13.2.0", ours=False)
    host.image("somebody/else:1")
    assert host.plan() == {("image", "node:older")}
    assert host.clean() == {("image", "node:older")}
    assert host.tags() == {"node:new", "node:old", "cuda:13.2.0", "somebody/else:1"}
    assert host.plan() == set()


def test_image_that_a_container_uses_stays_also_when_it_does_not_run(host: Host) -> None:
    host.image("node:new")
    host.state["containers"]["stopped"] = host.image("node:older")
    assert host.plan() == set()


def test_image_that_lost_its_name_goes_by_its_id(host: Host) -> None:
    host.image("node:new")
    nameless = host.image()
    assert host.clean() == {("image", nameless)}


def test_image_that_somebody_named_as_well_stays(host: Host) -> None:
    host.image("node:older", "mine:keep")
    assert host.plan() == set()


def test_going_back_keeps_the_image_that_was_left(host: Host) -> None:
    host.used("node:newest", "node:new")
    for tag in ("node:new", "node:newest", "node:older"):
        host.image(tag)
    host.policy["described"] = "node:new"
    assert host.plan() == {("image", "node:older")}


def test_archives_beyond_the_last_few_go_with_the_layers_only_they_need(host: Host) -> None:
    host.archived("node:new", base=4 * MB, new=MB)
    host.archived("node:old", base=4 * MB, old=MB)
    host.archived("node:older", base=4 * MB, older=MB)
    (host.archive / "blobs/sha256/feed.partial").write_bytes(b"half")
    told = json.loads(host.run("plan").stdout)
    assert {(item["kind"], item["bytes"]) for item in told} == {("archive", MB), ("stray", 4)}
    host.clean()
    assert {path.name for path in (host.archive / "blobs/sha256").iterdir()} == {"base", "new", "old"}


def test_partial_files_of_an_earlier_way_to_move_archives_go(host: Host) -> None:
    host.archived("node:new", new=MB)
    (host.archive / "blobs/sha256/.partial").mkdir()
    (host.archive / "blobs/sha256/.partial/feed").write_bytes(b"half")
    assert host.plan() == {("stray", str(host.archive / "blobs/sha256/.partial"))}
    host.clean()
    assert {path.name for path in (host.archive / "blobs/sha256").iterdir()} == {"new"}


def test_bytes_bound_the_archive_but_never_take_what_is_kept(host: Host) -> None:
    host.policy |= {"keep_archives": 9, "archive_bytes": 3 * MB}
    for name in ("new", "old", "older", "oldest"):
        host.archived(f"node:{name}", **{name: 2 * MB})
    assert host.plan() == {("archive", "node:older"), ("archive", "node:oldest")}


def test_build_cache_shrinks_to_its_grant_from_what_was_unused_longest(host: Host) -> None:
    def record(identity: str, used: str, **more: bool) -> dict[str, object]:
        return {"ID": identity, "Size": 3 * MB, "LastUsedAt": used, "InUse": False, "Shared": False} | more

    host.state["cache"] = [
        record("young", "2026-03"),
        record("old", "2026-01"),
        record("middle", "2026-02"),
        record("shared", "2025-01", Shared=True),
        record("used", "2025-01", InUse=True),
    ]
    assert host.clean() == {("cache", "old"), ("cache", "middle")}
    assert [record["ID"] for record in host.state["cache"]] == ["young", "shared", "used"]


def test_build_directories_of_other_images_go(host: Host) -> None:
    for name in ("new", "old"):
        (host.builds / name).mkdir(parents=True)
        (host.builds / name / "build.log").write_text("x" * 10)
    assert host.clean() == {("build", str(host.builds / "old"))}
    assert [path.name for path in host.builds.iterdir()] == ["new"]


def test_only_what_was_asked_for_goes(host: Host) -> None:
    for tag in ("node:new", "node:older", "node:oldest"):
        host.image(tag)
    done = host.run("clean", "--only", "node:oldest")
    assert [item["name"] for item in json.loads(done.stdout)] == ["node:oldest"]
    assert host.tags() == {"node:new", "node:older"}


def test_plan_changes_nothing(host: Host) -> None:
    host.image("node:older")
    host.archived("node:oldest", a=1)
    host.plan()
    assert not (host.home / "changed").exists()
    assert (host.archive / "blobs/sha256/a").exists()


def test_described_image_is_noted_first_once(host: Host) -> None:
    for _ in range(2):
        assert host.run("used").returncode == 0
    assert json.loads((host.home / "used.json").read_text()) == ["node:new", "node:old", "node:older"]


def test_unreadable_archive_removes_nothing(host: Host) -> None:
    host.archived("node:older", a=1)
    (host.archive / "images/other.json").write_text("{")
    refused(host.run("clean"), "other.json is no JSON")
    assert (host.archive / "blobs/sha256/a").exists()


def test_host_without_a_policy_is_told_so(tmp_path: Path) -> None:
    refused(run("images", "plan", "--policy", tmp_path / "none.json"), "nobody said what this host shall keep")


def test_room_that_is_missing_is_told_with_what_could_go(host: Host) -> None:
    done = host.run("room", "--for", "building node:new", "--gib", "1e9")
    refused(done, "building node:new needs", "are free", "are missing", "Remove old images by name")


NAMES = ["new", "old", "older", "oldest", "stranger"]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    images=st.sets(st.sampled_from(NAMES)),
    archives=st.sets(st.sampled_from(NAMES)),
    running=st.sampled_from(NAMES),
    used=st.permutations(NAMES[:4]),
    keep=st.integers(0, 2),
)
def test_what_goes_is_what_was_planned_and_never_what_is_kept(
    tmp_path_factory: pytest.TempPathFactory,
    *,
    images: set[str],
    archives: set[str],
    running: str,
    used: list[str],
    keep: int,
) -> None:
    host = Host(tmp_path_factory.mktemp("host"))
    host.policy |= {"described": f"node:{used[0]}", "keep_previous": keep, "keep_archives": 1}
    host.used(*(f"node:{name}" for name in used))
    identities = {name: host.image(f"node:{name}") for name in sorted(images)}
    for name in sorted(archives):
        host.archived(f"node:{name}", base=2, **{name: 1})
    if running in identities:
        host.state["containers"]["c"] = identities[running]
    planned = host.plan()
    assert host.clean() == planned
    stays = {f"node:{name}" for name in used[: 1 + keep]}
    assert not stays & {name for _, name in planned}
    assert host.tags() >= stays & {f"node:{name}" for name in images}
    if running in images:
        assert f"node:{running}" in host.tags()
    left = {json.loads(path.read_text())["name"] for path in host.archive.glob("images/*.json")}
    assert left >= stays & {f"node:{name}" for name in archives}
    assert host.plan() == set()

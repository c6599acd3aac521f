"""hub.py: fetched once from a hub at a pinned revision, resumed, held to its own hashes; both layouts taken over."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .fake_hub import REPOSITORY, REVISION, Hub, hub_with
from .host_side import ENTRY, SECONDS, read_json, refused
from .test_host_content import MANIFEST, MB, bytes_of, flip, held, verify

FILES = {
    "config.json": b'{"model_type": "tiny"}',
    "model-1.safetensors": bytes_of(1, 3 * MB),
    "model-2.safetensors": bytes_of(2, 2 * MB),
    "deep/tokenizer.json": bytes_of(3, 5000),
    ".gitattributes": b"*.safetensors lfs",
}
EXPECTED = {os.fsencode(name): content for name, content in FILES.items() if name != ".gitattributes"}
SECRET = "hf_" + "s3cret" * 6


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub with one repository."""
    with hub_with(dict(FILES)) as one:
        yield one


def fetch(
    hub: Hub,
    target: Path,
    *more: object,
    revision: str = REVISION,
    repository: str = REPOSITORY,
    token: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run it with this environment's huggingface_hub, as the engine's image does with its own."""
    words = [sys.executable, str(ENTRY), "hub", "--repository", repository, "--revision", revision]
    words += ["--to", str(target), "--name", "tiny", *map(str, more)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment |= {"HF_HOME": str(target.parent / "home"), "HF_TOKEN_PATH": str(token or target.parent / "none")}
    return subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False, env=environment)


def test_a_repository_arrives_whole_with_its_manifest_and_is_not_fetched_again(hub: Hub, tmp_path: Path) -> None:
    done = fetch(hub, tmp_path / "model")
    assert done.returncode == 0, done.stderr
    assert held(tmp_path / "model") == EXPECTED
    told = read_json(tmp_path / "model" / MANIFEST)
    assert told["source"] == {"hub": REPOSITORY, "revision": REVISION}
    digests = {entry["path"]: entry["sha256"] for entry in told["files"]}
    assert digests == {os.fsdecode(name): hashlib.sha256(content).hexdigest() for name, content in EXPECTED.items()}
    before = hub.sent
    again = fetch(hub, tmp_path / "model")
    assert "nothing moved" in again.stdout, again.stderr
    assert hub.sent - before < 2000, "more than the listing was sent"
    assert verify(tmp_path / "model").returncode == 0


def test_a_download_that_breaks_off_is_resumed_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after, hub.cuts = 3 * MB // 2, 3
    done = fetch(hub, tmp_path / "model")
    assert done.returncode == 0, done.stderr
    assert held(tmp_path / "model") == EXPECTED
    assert hub.cuts == 0
    assert len(hub.ranges) == 3
    assert hub.sent < 1.3 * 5 * MB


def test_a_killed_fetch_is_resumed_from_its_partial_file(hub: Hub, tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "model-1.safetensors.partial").write_bytes(FILES["model-1.safetensors"][: 2 * MB])
    assert fetch(hub, target).returncode == 0
    assert held(target) == EXPECTED
    assert f"model-1.safetensors from {2 * MB}" in hub.ranges
    assert hub.sent < 3.1 * MB


@pytest.mark.parametrize("name", ["model-2.safetensors", "config.json"])
def test_content_that_is_not_the_hubs_own_hash_never_gets_its_name(hub: Hub, tmp_path: Path, name: str) -> None:
    wrong = bytearray(FILES[name])
    wrong[5] ^= 1
    hub.lies[name] = bytes(wrong)
    refused(fetch(hub, tmp_path / "model"), name, "arrived with sha256")
    assert held(tmp_path / "model") == {path: content for path, content in EXPECTED.items() if path != name.encode()}
    assert not (tmp_path / "model" / MANIFEST).exists()
    hub.lies.clear()
    assert fetch(hub, tmp_path / "model").returncode == 0


def test_one_damaged_file_is_fetched_alone(hub: Hub, tmp_path: Path) -> None:
    assert fetch(hub, tmp_path / "model").returncode == 0
    before = hub.sent
    flip(tmp_path / "model/model-2.safetensors", 77)
    assert fetch(hub, tmp_path / "model").returncode == 0
    assert 2 * MB <= hub.sent - before < 2.1 * MB
    assert held(tmp_path / "model") == EXPECTED


def cache(root: Path, shared: bool) -> Path:
    """A hub's cache with the whole repository, as huggingface_hub lays it out; `shared` in its newer form."""
    repository = root / "hub/models--org--tiny"
    (repository / "blobs").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(REVISION)
    for name, content in FILES.items():
        blob = repository / "blobs" / hashlib.sha256(content).hexdigest()
        if shared:
            store = root / "hub/blobs" / blob.name[:2] / blob.name[::-1]
            store.parent.mkdir(parents=True, exist_ok=True)
            store.write_bytes(content)
            blob.symlink_to(os.path.relpath(store, blob.parent))
        else:
            blob.write_bytes(content)
        pointer = repository / "snapshots" / REVISION / name
        pointer.parent.mkdir(parents=True, exist_ok=True)
        pointer.symlink_to(os.path.relpath(blob, pointer.parent))
    return repository


@pytest.mark.parametrize("shared", [False, True], ids=["blobs of the repository", "blobs that repositories share"])
def test_what_a_cache_on_the_host_holds_is_taken_over_and_not_downloaded(
    hub: Hub, tmp_path: Path, shared: bool
) -> None:
    cache(tmp_path, shared)
    done = fetch(hub, tmp_path / "model", "--reuse", tmp_path)
    assert done.returncode == 0, done.stderr
    assert held(tmp_path / "model") == EXPECTED
    assert not any(path.is_symlink() for path in (tmp_path / "model").rglob("*"))
    assert hub.sent < 0.1 * MB
    assert (tmp_path / "model/model-1.safetensors").stat().st_nlink == 2, "it takes the disk's space twice"


def test_a_damaged_blob_of_a_cache_is_fetched(hub: Hub, tmp_path: Path) -> None:
    repository = cache(tmp_path, shared=False)
    flip(repository / "blobs" / hashlib.sha256(FILES["model-1.safetensors"]).hexdigest(), 5)
    assert fetch(hub, tmp_path / "model", "--reuse", tmp_path).returncode == 0
    assert held(tmp_path / "model") == EXPECTED
    assert 3 * MB <= hub.sent < 3.1 * MB


def test_a_token_is_read_from_its_file_and_said_nowhere(hub: Hub, tmp_path: Path) -> None:
    hub.token = SECRET
    refused(fetch(hub, tmp_path / "model"), "is gated", "models.hub_token_file")
    (tmp_path / "token").write_text(SECRET)
    done = fetch(hub, tmp_path / "model", token=tmp_path / "token")
    assert done.returncode == 0, done.stderr
    hub.token = "another"  # noqa: S105 - a stand-in
    after = fetch(hub, tmp_path / "model", token=tmp_path / "token")
    assert SECRET not in done.stdout + done.stderr + after.stdout + after.stderr
    assert not any(SECRET.encode() in path.read_bytes() for path in (tmp_path / "model").rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"revision": ""}, (f"newest commit of {REPOSITORY} is {REVISION}", "source.revision")),
        ({"revision": "b" * 40}, ("has no revision", "source.revision")),
        ({"repository": "org/other"}, ("has no org/other", "source.hub")),
    ],
    ids=["no revision", "another revision", "no such repository"],
)
def test_what_is_not_pinned_or_not_there_is_refused_untouched(
    hub: Hub, tmp_path: Path, changed: dict[str, str], told: tuple[str, ...]
) -> None:
    refused(fetch(hub, tmp_path / "model", **changed), *told)
    assert not held(tmp_path / "model")
    assert not any("resolve" in path for path in hub.asked)


def test_a_hub_that_does_not_answer_is_named(tmp_path: Path) -> None:
    refused(fetch(Hub({}, url="http://127.0.0.1:9"), tmp_path / "model"), "cannot be asked", "way out")

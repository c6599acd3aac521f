"""archive.py on a host: layers stored once and proven, images back in Docker as they were, nothing in part."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from gx10_host.content.manifest import digest_of_manifest as digest_of

from .fake_docker import FakeDocker
from .host_side import SECONDS, Code, command_on_path, read_json, refused, run, start, wait_until
from .host_side import damaged as found_damaged
from .relayed_share import Relay, relayed
from .test_probes import ask

MB = 1_000_000


def bytes_of(seed: int, count: int) -> bytes:
    return random.Random(seed).randbytes(count)  # noqa: S311 - content, not a secret


BASE, FIRST, SECOND = bytes_of(1, 4 * MB), bytes_of(2, MB), bytes_of(3, MB)


@pytest.fixture
def docker(tmp_path: Path) -> FakeDocker:
    """A Docker with two images that share their base layer."""
    docker = FakeDocker(tmp_path / "docker")
    docker.add("node:1", [BASE, FIRST])
    docker.add("node:2", [BASE, SECOND])
    return docker


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Where images are archived."""
    return tmp_path / "archive"


def save(docker: FakeDocker, archive: Path, number: int = 1) -> subprocess.CompletedProcess[str]:
    words = ("save", f"node:{number}", "--archive", archive, "--image", f"node-{number}.json")
    return run("archive", *words, env=docker.env)


def load(docker: FakeDocker, archive: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return run("archive", "load", "node:1", "--archive", archive, "--image", "node-1.json", *more, env=docker.env)


def drop(docker: FakeDocker, archive: Path, number: int = 1) -> subprocess.CompletedProcess[str]:
    return run("archive", "drop", "--archive", archive, "--image", f"node-{number}.json", env=docker.env)


def blob(archive: Path, content: bytes, number: int = 1) -> Path:
    """The stored file of a layer, which is named by its own hash: it is compressed."""
    name = f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"
    stream = read_json(archive / f"images/node-{number}.json")["stream"]
    return archive / next(item["path"] for item in stream if item["name"] == name)


def whole(archive: Path) -> bool:
    """Whether every stored blob has the content of its name."""
    stored = [path for path in (archive / "blobs/sha256").glob("*") if path.suffix != ".partial"]
    return all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name for path in stored)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)


def test_saved_image_comes_back_layer_by_layer(docker: FakeDocker, archive: Path) -> None:
    assert save(docker, archive).returncode == 0
    before = docker.layers("node:1")
    docker.remove("node:1")
    done = load(docker, archive)
    assert done.returncode == 0, done.stderr
    assert docker.layers("node:1") == before
    assert read_json(archive / "images/node-1.json")["layers"] == before


def test_layer_of_two_images_is_stored_once_and_not_written_again(docker: FakeDocker, archive: Path) -> None:
    assert save(docker, archive, 1).returncode == 0
    written = blob(archive, BASE).stat()
    assert save(docker, archive, 2).returncode == 0
    assert whole(archive)
    again = blob(archive, BASE).stat()
    assert (again.st_ino, again.st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    stored = sum(path.stat().st_size for path in (archive / "blobs/sha256").iterdir())
    assert stored < 6.1 * MB, "the shared layer is stored twice"


def test_damaged_blob_is_refused_by_name_before_docker_sees_a_byte(docker: FakeDocker, archive: Path) -> None:
    assert save(docker, archive).returncode == 0
    flip(blob(archive, FIRST))
    docker.remove("node:1")
    refused(load(docker, archive), "is damaged at", blob(archive, FIRST).name)
    assert not [words for words in docker.asked() if words.startswith("load")]


def test_lost_blob_is_refused_by_name(docker: FakeDocker, archive: Path) -> None:
    assert save(docker, archive).returncode == 0
    lost = blob(archive, BASE)
    lost.unlink()
    docker.remove("node:1")
    docker.remove("node:2")
    refused(load(docker, archive), "is damaged at", lost.name)


def test_save_repairs_a_damaged_blob(docker: FakeDocker, archive: Path) -> None:
    assert save(docker, archive).returncode == 0
    flip(blob(archive, FIRST))
    assert save(docker, archive).returncode == 0
    assert whole(archive)
    assert load(docker, archive).returncode == 0


def test_mended_archive_is_the_same_to_whoever_keeps_it_too(docker: FakeDocker, archive: Path) -> None:
    def told() -> object:
        answer = ask("content", {"archive": str(archive), "image": "node-1.json"})["archive"]
        assert isinstance(answer, dict)
        return answer["digest"]

    save(docker, archive)
    manifest = archive / "images/node-1.json"
    kept = read_json(manifest)
    assert told() == digest_of(kept)
    flip(blob(archive, FIRST))
    save(docker, archive)
    manifest.write_text(json.dumps(read_json(manifest) | {"archived": "on another day"}))
    assert told() == digest_of(kept)


def test_layer_that_docker_itself_damaged_is_never_archived(docker: FakeDocker, archive: Path) -> None:
    docker.add("node:1", [BASE, FIRST], misnamed=1)
    refused(save(docker, archive), "its store is damaged")
    assert not (archive / "images/node-1.json").exists()
    assert whole(archive)


def test_other_layers_after_a_load_are_refused(docker: FakeDocker, archive: Path) -> None:
    assert save(docker, archive).returncode == 0
    docker.mode("lose a layer")
    refused(load(docker, archive), "1 layers that are not the archive's 2")


def test_load_that_docker_refuses_tells_what_it_said(docker: FakeDocker, archive: Path) -> None:
    assert save(docker, archive).returncode == 0
    docker.mode("refuse")
    refused(load(docker, archive), "status 1", "no space left on device", "restart docker.service")


def test_dead_daemon_is_told_apart_from_an_absent_image(docker: FakeDocker, archive: Path) -> None:
    refused(save(docker, archive, 3), "Docker has no image node:3")
    assert save(docker, archive).returncode == 0
    docker.mode("dead")
    refused(save(docker, archive), "Docker does not answer", "systemctl status docker")
    refused(load(docker, archive), "Docker does not answer")


def test_host_without_docker_is_told_so(docker: FakeDocker, archive: Path, tmp_path: Path) -> None:
    env = {**docker.env, "PATH": str(tmp_path / "nowhere")}
    refused(run("archive", "save", "x", "--archive", archive, "--image", "x.json", env=env), "There is no docker")


def test_image_that_does_not_fit_is_refused_before_a_byte(docker: FakeDocker, archive: Path) -> None:
    docker.add("node:1", [BASE, FIRST], size=10**15)
    refused(save(docker, archive), "node:1 needs 1000000.0 GB", "docker image rm")
    assert not [words for words in docker.asked() if words.startswith("save")]
    docker.add("node:1", [BASE, FIRST])
    assert save(docker, archive).returncode == 0
    docker.remove("node:1")
    docker.remove("node:2")
    words = ("load", "node:1", "--archive", archive, "--image", "node-1.json")
    # Docker needs an image twice while it loads it: 8 MB free are too few for one of 5 MB.
    free = Code(f"lambda _: type('Usage', (), {{'free': {8 * MB}}})")
    done = run("archive", *words, env=docker.env, settings={"shutil.disk_usage": free})
    refused(done, "node:1 needs", "8.0 MB are free", "MB are missing")
    assert not [words for words in docker.asked() if words.startswith("load")]


def test_broken_stream_leaves_no_manifest(docker: FakeDocker, archive: Path) -> None:
    docker.mode("break")
    refused(save(docker, archive), "docker save node:1 ended with status 1", "input/output error")
    assert not (archive / "images/node-1.json").exists()
    assert whole(archive)
    docker.mode("")
    assert save(docker, archive).returncode == 0


def test_killed_save_leaves_no_manifest_and_the_next_finishes(docker: FakeDocker, archive: Path) -> None:
    docker.mode("half")
    words = ("save", "node:1", "--archive", archive, "--image", "node-1.json")
    running = start("archive", *words, env=docker.env)
    assert wait_until(lambda: (docker.home / "halfway").exists() and list(archive.glob("blobs/sha256/*.partial")))
    running.kill()
    running.communicate()
    docker.mode("")
    assert not (archive / "images/node-1.json").exists()
    assert whole(archive)
    assert save(docker, archive).returncode == 0
    assert load(docker, archive).returncode == 0


def test_drop_keeps_what_another_manifest_names(docker: FakeDocker, archive: Path) -> None:
    assert save(docker, archive, 1).returncode == 0
    assert save(docker, archive, 2).returncode == 0
    second = blob(archive, SECOND, 2)
    assert drop(docker, archive, 2).returncode == 0
    assert blob(archive, BASE).exists()
    assert not second.exists()
    assert not (archive / "images/node-2.json").exists()
    docker.remove("node:1")
    assert load(docker, archive).returncode == 0
    assert drop(docker, archive, 1).returncode == 0
    assert not list((archive / "blobs/sha256").iterdir())
    assert drop(docker, archive, 1).returncode == 0, "dropping what is gone is no error"


def test_drop_removes_nothing_while_another_manifest_cannot_be_read(docker: FakeDocker, archive: Path) -> None:
    assert save(docker, archive).returncode == 0
    (archive / "images/other.json").write_text("{")
    refused(drop(docker, archive), "other.json is no JSON")
    assert (archive / "images/node-1.json").exists()
    assert blob(archive, BASE).exists()


def test_clear_leaves_nothing_of_a_fetch_that_nobody_finished(docker: FakeDocker, archive: Path) -> None:
    assert save(docker, archive).returncode == 0
    (archive / "images/node-2.json.received").write_text("{")
    (archive / "blobs/sha256/feed.partial").write_bytes(b"half")
    done = run("archive", "clear", "--archive", archive, env=docker.env)
    assert done.returncode == 0, done.stderr
    assert not list((archive / "blobs/sha256").iterdir())
    assert not list((archive / "images").iterdir())


def test_image_rebuilt_under_its_name_leaves_no_layer_of_the_old_one(docker: FakeDocker, archive: Path) -> None:
    assert save(docker, archive).returncode == 0
    first = blob(archive, FIRST)
    docker.add("node:1", [BASE, SECOND])
    assert save(docker, archive).returncode == 0
    assert not first.exists()
    assert whole(archive)
    assert load(docker, archive).returncode == 0


def test_archive_that_is_not_there_is_told_so(docker: FakeDocker, archive: Path) -> None:
    refused(load(docker, archive), "holds no archive node-1.json")
    assert drop(docker, archive).returncode == 0
    assert not archive.joinpath("images/node-1.json").exists()


@pytest.mark.parametrize("name", ["../evil.json", "/evil.json", "evil", ""])
def test_manifest_name_that_leads_out_is_refused(docker: FakeDocker, archive: Path, name: str) -> None:
    archive.mkdir()
    refused(run("archive", "drop", "--archive", archive, "--image", name, env=docker.env), "no file name")


def receive(
    docker: FakeDocker, worker: Path, urls: list[str], number: int = 1, *more: object
) -> subprocess.CompletedProcess[str]:
    words = ("receive", f"node:{number}", "--archive", worker, "--image", f"node-{number}.json", "--url", *urls, *more)
    return run("archive", *words, env=docker.env)


@pytest.fixture
def worker_docker(tmp_path: Path) -> FakeDocker:
    """The Docker of a host without images."""
    return FakeDocker(tmp_path / "worker-docker")


def loaded(docker: FakeDocker) -> list[int]:
    """Bytes of each stream that Docker was given to load."""
    return [int(line) for line in (docker.home / "loaded").read_text().split()]


def test_image_moves_to_another_host_and_only_what_it_lacks(
    docker: FakeDocker, worker_docker: FakeDocker, archive: Path, tmp_path: Path
) -> None:
    assert save(docker, archive, 1).returncode == 0
    assert save(docker, archive, 2).returncode == 0
    worker, rates = tmp_path / "worker", tmp_path / "rates.json"
    with relayed(archive) as relay:
        for number, most in ((1, 5.2), (2, 1.1), (2, 0.02)):
            before = relay.sent
            done = receive(worker_docker, worker, [relay.url], number, "--record", rates)
            assert done.returncode == 0, done.stderr
            assert relay.sent - before < most * MB
            assert worker_docker.layers(f"node:{number}") == docker.layers(f"node:{number}")
            assert not [path for path in worker.rglob("*") if path.is_file() and path.name != ".gx10-proven.json"]
    assert loaded(worker_docker)[1] < 1.2 * MB, "layers that Docker holds were given to it again"
    told = json.loads(rates.read_text())
    assert [transfer["what"] for transfer in told] == ["node:2", "node:2", "node:1"]
    assert [transfer["bytes"] > 0.9 * MB for transfer in told] == [False, True, True]


def test_image_comes_over_every_address_of_the_sender(
    docker: FakeDocker, worker_docker: FakeDocker, archive: Path, tmp_path: Path
) -> None:
    assert save(docker, archive).returncode == 0
    with relayed(archive) as first, relayed(archive) as second:
        done = receive(worker_docker, tmp_path / "worker", [first.url, second.url])
        assert done.returncode == 0, done.stderr
        assert first.sent > MB / 2
        assert second.sent > MB / 2


def test_layer_that_was_removed_meanwhile_is_loaded_after_all(docker: FakeDocker, archive: Path) -> None:
    assert save(docker, archive).returncode == 0
    docker.mode("forget")
    done = load(docker, archive)
    assert done.returncode == 0, done.stderr
    assert "again with all layers" in done.stdout
    assert loaded(docker)[-1] > 5 * MB


def test_docker_with_the_image_store_of_containerd_gets_what_docker_save_wrote(
    docker: FakeDocker, worker_docker: FakeDocker, archive: Path
) -> None:
    assert save(docker, archive).returncode == 0
    worker_docker.mode("containerd")
    done = load(worker_docker, archive)
    assert done.returncode == 0, done.stderr
    assert worker_docker.layers("node:1") == docker.layers("node:1")


@pytest.fixture
def systemctl(tmp_path: Path, docker: FakeDocker) -> None:
    """A systemctl whose restart of Docker ends what wedges it."""
    program = f"""
import pathlib, sys
home = pathlib.Path({str(docker.home)!r})
for name in ("wedged", "mode"):
    (home / name).unlink(missing_ok=True)
(home / "restarted").write_text(" ".join(sys.argv[1:]))
"""
    command_on_path(docker.home / "bin", "systemctl", program)


@pytest.mark.usefixtures("systemctl")
def test_daemon_that_a_load_wedged_is_restarted_where_nothing_runs(docker: FakeDocker, archive: Path) -> None:
    assert save(docker, archive).returncode == 0
    docker.remove("node:1")
    docker.mode("wedge")
    done = load(docker, archive)
    assert done.returncode == 0, done.stderr
    assert (docker.home / "restarted").read_text() == "restart docker.service"
    assert docker.layers("node:1")


@pytest.mark.usefixtures("systemctl")
def test_daemon_is_never_restarted_under_running_containers(docker: FakeDocker, archive: Path) -> None:
    assert save(docker, archive).returncode == 0
    docker.remove("node:1")
    (docker.home / "running").write_text("gx10-ray")
    docker.mode("wedge")
    refused(load(docker, archive), "It was not restarted, because gx10-ray run on this host")
    assert not (docker.home / "restarted").exists()


def test_load_that_takes_nothing_is_given_up(docker: FakeDocker, archive: Path) -> None:
    assert save(docker, archive).returncode == 0
    docker.remove("node:1")
    docker.mode("hang")
    words = ("load", "node:1", "--archive", archive, "--image", "node-1.json")
    done = run("archive", *words, env=docker.env, settings={"image.load.STALL_SECONDS": 0.5})
    refused(done, "was given up after 0 s without progress")


def test_archive_put_here_gets_its_name_only_when_it_is_whole(
    docker: FakeDocker, archive: Path, tmp_path: Path
) -> None:
    assert save(docker, archive).returncode == 0
    here, theirs = tmp_path / "here", tmp_path / "theirs"
    shutil.copytree(archive, here)
    (here / "images/node-1.json").unlink()
    shutil.copytree(archive, theirs)
    victim = blob(archive, FIRST).relative_to(archive)
    flip(here / victim)
    flip(theirs / victim)
    manifest = (archive / "images/node-1.json").read_text()

    def put(relay: Relay) -> subprocess.CompletedProcess[str]:
        fetch = ("fetch", "--url", relay.url, "--manifest", "images/node-1.json", "--to", here, "--given")
        return run("content", *fetch, env=docker.env, given=manifest)

    with relayed(theirs) as relay:
        found_damaged(put(relay), f"{here / victim} arrived with sha256", "It was removed")
        assert not (here / "images/node-1.json").exists()
        shutil.copy(blob(archive, FIRST), theirs / victim)
        assert put(relay).returncode == 0
    assert load(docker, here).returncode == 0


def test_verify_hashes_everything_and_names_the_image(docker: FakeDocker, archive: Path) -> None:
    assert save(docker, archive).returncode == 0
    verify = ("verify", "--archive", archive)
    assert run("archive", *verify, env=docker.env).returncode == 0
    damaged = blob(archive, BASE)
    before = damaged.stat()
    flip(damaged)
    os.utime(damaged, ns=(before.st_atime_ns, before.st_mtime_ns))  # As a disk does it.
    found_damaged(run("archive", *verify, env=docker.env), "node:1 lacks or has damaged 1 files", damaged.name)


def test_list_tells_what_is_shared_and_what_is_left_behind(docker: FakeDocker, archive: Path) -> None:
    assert save(docker, archive, 1).returncode == 0
    assert save(docker, archive, 2).returncode == 0
    (archive / "blobs/sha256/feed.partial").write_bytes(b"half")
    told = json.loads(run("archive", "list", "--archive", archive, env=docker.env).stdout)
    assert [image["name"] for image in told["images"]] == ["node:1", "node:2"]
    assert all(image["own_bytes"] < 1.1 * MB < 4 * MB < image["bytes"] for image in told["images"])
    assert all(image["archived"] for image in told["images"])
    assert told["strays"] == 4


def test_two_saves_at_once_both_end_well(docker: FakeDocker, archive: Path) -> None:
    running = [
        start(
            "archive", "save", f"node:{number}", "--archive", archive, "--image", f"node-{number}.json", env=docker.env
        )
        for number in (1, 2)
    ]
    told = [one.communicate(timeout=SECONDS) for one in running]
    assert [one.returncode for one in running] == [0, 0], told
    assert whole(archive)
    assert len(list((archive / "images").iterdir())) == 2


def test_old_docker_layout_is_refused_by_name(docker: FakeDocker, archive: Path) -> None:
    tar = docker.home / "images/node:1/image.tar"
    content = tar.read_bytes().replace(b"oci-layout", b"layer.tar\0")
    tar.write_bytes(resummed(content))
    refused(save(docker, archive), "not the layout of Docker 25", "Update Docker")
    assert not (archive / "images/node-1.json").exists()


def resummed(tar: bytes) -> bytes:
    """A tar whose header checksums are made right again."""
    blocks = bytearray(tar)
    at = blocks.find(b"layer.tar\0")
    header = blocks[at : at + 512]
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    blocks[at : at + 512] = header
    return bytes(blocks)

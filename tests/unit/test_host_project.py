"""The reconciler's copy is what was deployed before anything of it is loaded, whatever somebody did to it."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gx10.described.watch_files import archived, files_in

from .host_side import ENTRY, refused, run, start

FILES = {"deploy.py": b"x = 1\n", "gx10/cli.py": b"y = 2\n", "recipes/a.yaml": b"a: 1\n"}
ARCHIVE = archived(FILES)


def restore(tmp_path: Path, digest: str = "", archive: bytes = ARCHIVE) -> subprocess.CompletedProcess[str]:
    """Run the program on a copy below a directory."""
    (tmp_path / "project.zip").write_bytes(archive)
    words = ["--archive", tmp_path / "project.zip", "--sha256", digest or hashlib.sha256(ARCHIVE).hexdigest()]
    return run("project", *words, "--to", tmp_path / "project", "--note", tmp_path / "restored.json")


def stands(tmp_path: Path) -> dict[str, str]:
    """Everything in the copy: content of files, modes of directories."""
    root = tmp_path / "project"
    return {
        str(path.relative_to(root)): path.read_text() if path.is_file() else oct(path.lstat().st_mode & 0o7777)
        for path in root.rglob("*")
    }


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy as it was deployed."""
    done = restore(tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "restored.json").unlink()
    return tmp_path


def swap(path: Path) -> None:
    """Put a link in a path's place."""
    aside = path.with_name(f"{path.name}-aside")
    path.rename(path.parent.parent / aside.name)
    path.symlink_to(path.parent.parent / aside.name)


TOUCHES: dict[str, tuple[Callable[[Path], object], str]] = {
    "edited": (lambda root: (root / "deploy.py").write_text("evil"), "deploy.py"),
    "removed": (lambda root: (root / "gx10/cli.py").unlink(), "gx10/cli.py"),
    "opened": (lambda root: (root / "recipes/a.yaml").chmod(0o666), "recipes/a.yaml"),
    "given away": (lambda root: shutil.chown(root / "recipes/a.yaml", "nobody"), "recipes/a.yaml"),
    "a file led elsewhere": (lambda root: swap(root / "gx10/cli.py"), "gx10/cli.py"),
    "a directory led elsewhere": (lambda root: swap(root / "gx10"), "gx10"),
    "a directory in a file's place": (
        lambda root: ((root / "deploy.py").unlink(), (root / "deploy.py/x").mkdir(parents=True)),
        "deploy.py",
    ),
    "a directory opened": (lambda root: (root / "gx10").chmod(0o777), "gx10"),
    "byte code": (lambda root: (root / "gx10/__pycache__").mkdir(), "gx10/__pycache__"),
    "a library": (lambda root: (root / "gx10/cli.so").touch(), "gx10/cli.so"),
    "a link to a package": (lambda root: (root / "gx10/status").symlink_to("/root"), "gx10/status"),
    "all of it": (shutil.rmtree, "."),
}


@pytest.mark.parametrize("touch", list(TOUCHES))
def test_whatever_somebody_did_is_put_back_and_noted(copy: Path, touch: str) -> None:
    whole = stands(copy)
    act, about = TOUCHES[touch]
    act(copy / "project")
    done = restore(copy)
    assert done.returncode == 0, done.stderr
    assert stands(copy) == whole
    noted = json.loads((copy / "restored.json").read_text())
    assert str(copy / "project" / about) in noted, noted
    assert "put back as it was deployed" in done.stdout
    assert restore(copy).stdout == "", "the second time nothing is left to do"
    assert json.loads((copy / "restored.json").read_text()) == noted, "a run that never told it loses nothing"


def test_what_was_led_elsewhere_is_left_alone_there(copy: Path) -> None:
    swap(copy / "project/gx10")
    assert restore(copy).returncode == 0
    assert (copy / "gx10-aside/cli.py").read_bytes() == FILES["gx10/cli.py"]


@pytest.mark.parametrize("fault", ["another archive", "no archive"])
def test_an_archive_that_was_not_deployed_is_refused_and_nothing_is_touched(copy: Path, fault: str) -> None:
    (copy / "project/deploy.py").write_text("evil")
    if fault == "another archive":
        refused(restore(copy, archive=archived({"deploy.py": b"worse"})), "is not what was deployed", "Deploy again")
    else:
        refused(restore(copy, digest="0" * 64), "expected 000000000000")
    assert (copy / "project/deploy.py").read_text() == "evil"


def test_an_archive_is_the_same_wherever_it_is_made() -> None:
    assert files_in(ARCHIVE) == FILES
    assert archived(dict(reversed(FILES.items()))) == ARCHIVE
    assert hashlib.sha256(ARCHIVE).hexdigest().startswith(hashlib.sha256(archived(files_in(ARCHIVE))).hexdigest())


def test_what_is_mounted_inside_is_left_alone_and_said(copy: Path) -> None:
    data = copy / "data"
    data.mkdir()
    (data / "theirs").write_text("kept")
    inside = copy / "project/share"
    inside.mkdir()
    digest = hashlib.sha256(ARCHIVE).hexdigest()
    words = [str(ENTRY), "project", "--archive", str(copy / "project.zip"), "--sha256", digest, "--to"]
    script = f"mount --bind {data} {inside} && exec {sys.executable} {shlex.join([*words, str(copy / 'project')])}"
    # A mount name space of its own: nothing stays mounted, whatever happens.
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False)
    refused(done, f"{inside} is mounted inside the project", "unmount it")
    assert (data / "theirs").read_text() == "kept"


def test_two_that_restore_at_once_wait_for_each_other(copy: Path) -> None:
    for name in FILES:
        (copy / "project" / name).write_text("evil")
    digest = hashlib.sha256(ARCHIVE).hexdigest()
    words = ["--archive", copy / "project.zip", "--sha256", digest, "--to", copy / "project"]
    running = [start("project", *words) for _ in range(4)]
    said = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0, 0], said
    assert stands(copy)["deploy.py"] == FILES["deploy.py"].decode()

"""Mods of spark-vllm-docker's form, a directory with run.sh, are applied while the image is built and held by hash."""

from __future__ import annotations

import hashlib
import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

IMAGE = Path(__file__).resolve().parents[2] / "files/image"

RUN_SH = """\
#!/bin/bash
set -e
sed -i 's/vanilla/modded/' "${PYTHON_ROOT:-/usr/local/lib/python3.12/dist-packages}/vllm/flag.py"
rm "$PYTHON_ROOT/vllm/gone.py"
cp parser.py "$WORKSPACE_DIR/"
"""


@pytest.fixture
def mod(tmp_path: Path) -> Path:
    """A mod, with site-packages and a workspace beside it."""
    for name in ("site/vllm", "workspace", "mods/theirs"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "site/vllm/flag.py").write_text("flavour = 'vanilla'\n")
    (tmp_path / "site/vllm/gone.py").touch()
    (tmp_path / "site/vllm/other.py").touch()
    (tmp_path / "mods/theirs/run.sh").write_text(RUN_SH)
    (tmp_path / "mods/theirs/parser.py").write_text("parser = 1\n")
    return tmp_path / "mods/theirs"


def apply(mod: Path) -> subprocess.CompletedProcess[str]:
    root = mod.parents[1]
    argv = [sys.executable, IMAGE / "apply_mods.py", "--mods", root / "mods", "--site", root / "site"]
    argv += ["--record", root / "mods.json"]
    return subprocess.run(argv, cwd=root / "workspace", capture_output=True, text=True, check=False)


def test_every_file_that_run_sh_changes_makes_or_removes_is_on_record(mod: Path) -> None:
    done = apply(mod)
    assert done.returncode == 0, done.stderr
    root = mod.parents[1]
    record = json.loads((root / "mods.json").read_text())["theirs"]
    assert record["files"] == {
        str(root / "workspace/parser.py"): hashlib.sha256(b"parser = 1\n").hexdigest(),
        "vllm/flag.py": hashlib.sha256(b"flavour = 'modded'\n").hexdigest(),
        "vllm/gone.py": None,
    }


def test_a_host_on_which_such_a_file_differs_is_refused(mod: Path) -> None:
    assert apply(mod).returncode == 0
    root = mod.parents[1]
    record = json.loads((root / "mods.json").read_text())
    check = runpy.run_path(str(IMAGE / "prove_image.py"))["check_files"]
    check(record, root / "site")
    (root / "site/vllm/gone.py").touch()
    with pytest.raises(SystemExit, match=r"mod theirs: .*gone\.py is not the file that the mod left"):
        check(record, root / "site")
    (root / "site/vllm/gone.py").unlink()
    (root / "workspace/parser.py").unlink()
    with pytest.raises(SystemExit, match=r"mod theirs: .*parser\.py is not the file that the mod left"):
        check(record, root / "site")


def test_a_failing_run_sh_fails_the_build_and_names_the_mod(mod: Path) -> None:
    (mod / "run.sh").write_text("echo 'patch does not apply' >&2\nexit 3\n")
    done = apply(mod)
    assert done.returncode == 1
    assert "Mod theirs: run.sh ended with 3:\npatch does not apply" in done.stderr
    assert not (mod.parents[1] / "mods.json").exists()

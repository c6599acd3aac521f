"""Mods are applied whole or the build fails; what was done is on record."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

APPLY = Path(__file__).resolve().parents[2] / "files/image/apply_mods.py"
ORIGINAL = "".join(f"line {number}\n" for number in range(1, 21))
PATCH = """\
--- a/pkg/module.py
+++ b/pkg/module.py
@@ -8,7 +8,8 @@
 line 8
 line 9
 line 10
-line 11
+line eleven
+line eleven and a half
 line 12
 line 13
 line 14
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    module = tmp_path / "site/pkg/module.py"
    module.parent.mkdir(parents=True)
    module.write_text(ORIGINAL)
    mod = tmp_path / "mods/a-mod"
    mod.mkdir(parents=True)
    (mod / "change.patch").write_text(PATCH)
    (mod / "prove.py").write_text("def prove():\n    return {}\n")
    return tmp_path / "site"


def apply(site: Path) -> subprocess.CompletedProcess[str]:
    root = site.parent
    argv = [sys.executable, APPLY, "--mods", root / "mods", "--site", site, "--record", root / "mods.json"]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def recorded(site: Path) -> dict[str, dict[str, dict[str, str]]]:
    record: dict[str, dict[str, dict[str, str]]] = json.loads((site.parent / "mods.json").read_text())
    return record


def test_a_patch_that_fits_is_applied_strictly_and_its_files_are_on_record(site: Path) -> None:
    assert apply(site).returncode == 0
    text = (site / "pkg/module.py").read_bytes()
    assert b"line eleven and a half" in text
    assert recorded(site)["a-mod"]["patches"] == {"change.patch": "git apply"}
    assert recorded(site)["a-mod"]["files"] == {"pkg/module.py": hashlib.sha256(text).hexdigest()}


def test_a_patch_is_applied_once(site: Path) -> None:
    apply(site)
    once = (site / "pkg/module.py").read_text()
    assert apply(site).returncode == 0
    assert (site / "pkg/module.py").read_text() == once
    assert recorded(site)["a-mod"]["patches"] == {"change.patch": "already applied"}


def test_upstream_drift_is_bridged_by_fuzz_and_the_record_says_so(site: Path) -> None:
    module = site / "pkg/module.py"
    module.write_text(ORIGINAL.replace("line 8\n", "a new line 8\n").replace("line 14\n", "a new line 14\n"))
    assert apply(site).returncode == 0
    assert "line eleven" in module.read_text()
    assert recorded(site)["a-mod"]["patches"] == {"change.patch": "patch --fuzz=5"}
    assert [path.name for path in module.parent.iterdir()] == ["module.py"]


def test_a_patch_that_does_not_fit_stops_the_build_with_mod_file_and_hunk_and_changes_nothing(site: Path) -> None:
    module = site / "pkg/module.py"
    other = ORIGINAL.replace("line", "something else")
    module.write_text(other)
    done = apply(site)
    assert done.returncode == 1
    for word in ("a-mod", "change.patch", "pkg/module.py", "Hunk #1", "Rebase the patch"):
        assert word in done.stderr
    assert module.read_text() == other
    assert not (site.parent / "mods.json").exists()


def test_an_ignoring_git_repository_around_the_packages_does_not_swallow_the_patch(site: Path) -> None:
    subprocess.run(["git", "init", "--quiet", site.parent], check=True)
    (site.parent / ".gitignore").write_text("site/\n")
    assert apply(site).returncode == 0
    assert "line eleven" in (site / "pkg/module.py").read_text()


def test_a_mod_without_a_proof_is_refused(site: Path) -> None:
    (site.parent / "mods/a-mod/prove.py").unlink()
    done = apply(site)
    assert done.returncode == 1
    assert "no prove.py" in done.stderr


def test_what_a_wheel_lacks_is_named_by_file_and_hunk(site: Path) -> None:
    second = PATCH.replace("pkg/module.py", "pkg/absent.py")
    third = "".join(line for line in PATCH.splitlines(keepends=True) if not line.startswith(("---", "+++")))
    (site.parent / "mods/a-mod/change.patch").write_text(PATCH + third.replace("line 1", "other 1") + second)
    done = apply(site)
    assert done.returncode == 1
    assert "pkg/module.py, hunk 2 (line 9)" in done.stderr
    assert "pkg/absent.py, which is not there" in done.stderr
    assert (site / "pkg/module.py").read_text() == ORIGINAL


def test_a_tool_that_only_says_that_it_patched_is_not_believed(site: Path, tmp_path: Path) -> None:
    liar = tmp_path / "bin/git"
    liar.parent.mkdir()
    liar.write_text('#!/bin/sh\ncase " $* " in *" --reverse "*) exit 1 ;; esac\n')
    liar.chmod(0o755)
    root = site.parent
    argv = [sys.executable, APPLY, "--mods", root / "mods", "--site", site, "--record", root / "mods.json"]
    environment = {**os.environ, "PATH": f"{liar.parent}:{os.environ['PATH']}"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "git apply said it applied change.patch, but it is not in pkg/module.py" in done.stderr

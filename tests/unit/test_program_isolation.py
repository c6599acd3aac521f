"""`gx10-host` loads the standard library and its own package's texts: no byte code, nothing that lies beside them."""

from __future__ import annotations

import os
import py_compile
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gx10_host import __main__ as entry

from gx10.closure import closure
from gx10.settings import PROJECT

from .host_side import ENTRY, LIBRARY, REPOSITORY

FIRST = "#!/usr/bin/python3 -BIS"
"""No byte code is written, no variable, user's package or directory beside it counts."""
MODULES = sorted((LIBRARY / "gx10_host").rglob("*.py"))


def test_the_entry_says_how_python_runs_it_and_is_the_only_program() -> None:
    assert ENTRY.read_text().splitlines()[0] == FIRST
    assert os.access(ENTRY, os.X_OK)
    for path in MODULES:
        assert not path.read_text().startswith("#!"), f"{path}: the entry runs it"
        assert not os.access(path, os.X_OK)


@pytest.mark.parametrize("verb", entry.VERBS)
def test_every_verb_explains_itself_by_its_name(verb: str) -> None:
    done = subprocess.run([sys.executable, ENTRY, verb, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: gx10-host {verb} ")


def test_verbs_are_listed_and_another_word_is_a_usage_error() -> None:
    listed = subprocess.run([sys.executable, ENTRY, "--help"], capture_output=True, text=True, check=True).stdout
    assert all(f"  {verb} " in listed for verb in entry.VERBS)
    other = subprocess.run([sys.executable, ENTRY, "undo"], capture_output=True, text=True, check=False)
    assert (other.returncode, "there is no verb 'undo'" in other.stderr) == (64, True)


def test_a_closure_is_what_python_loads() -> None:
    program = "import sys, importlib; importlib.import_module('gx10_host.' + sys.argv[1]); print(*sys.modules)"
    for module in ("gang.supervisor", "content.share", "probes.leftovers", "probes.sample", "write.put"):
        command = [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {str(LIBRARY)!r}); {program}", module]
        loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        mine = {name for name in loaded if name.split(".")[0] == "gx10_host"}
        files = {
            name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in closure(PROJECT, module)
        }
        assert mine <= files
        # What is imported only when it is needed is loaded later, and travels too.
        assert files - mine <= {"gx10_host.image.gc", "gx10_host.image.docker"}


def test_editing_what_a_supervisor_does_not_import_does_not_change_it() -> None:
    names = set(closure(PROJECT, "gang.supervisor"))
    assert {"gx10_host/__init__.py", "gx10_host/gang/conductor.py", "gx10_host/gang/rank_gate.py"} <= names
    assert not {
        name for name in names if name.startswith(("gx10_host/content/", "gx10_host/probes/", "gx10_host/night/"))
    }
    with pytest.raises(FileNotFoundError, match=r"gx10_host\.gang\.nothing is no module"):
        closure(PROJECT, "gang.nothing")


def test_the_entry_is_run_by_its_path_so_that_its_first_line_counts() -> None:
    by_hand = re.compile(
        r"python3[\"',]*\s+[\"',f]*(/usr/local/bin/gx10-host|\{?ENTRY)|python3\", (CONTROL|EXPLAIN|ENTRY)"
    )
    places = [*PROJECT.glob("templates/**/*.j2"), *PROJECT.glob("gx10/**/*.py"), *PROJECT.glob("tasks/*.py")]
    places += [*PROJECT.glob("tests/chaos/*.py"), *PROJECT.glob("tests/nodes/*.py"), *PROJECT.glob("docs/**/*.md")]
    found = [str(path.relative_to(PROJECT)) for path in places if by_hand.search(path.read_text())]
    assert found == []


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The package as it lies on a host, with its entry run by the Python of this test."""
    shutil.copytree(REPOSITORY / "files/usr/local", tmp_path / "local", ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "local/bin/gx10-host"
    path.write_text(path.read_text().replace("/usr/bin/python3", sys.executable, 1))
    return tmp_path / "local"


def help_of(installed: Path, verb: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    command = [installed / "bin/gx10-host", verb, "--help"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)


@pytest.mark.parametrize("verb", ["content", "images", "weights", "ranks", "completion", "share"])
def test_running_it_leaves_no_byte_code(installed: Path, verb: str) -> None:
    done = help_of(installed, verb)
    assert done.returncode == 0, done.stderr
    assert not list(installed.rglob("__pycache__"))


def planted(installed: Path, name: str) -> None:
    """Byte code that Python takes without looking at the text that it stands for."""
    source = installed.parent / "evil.py"
    source.write_text("print('PLANTED')\n")
    module = installed / f"lib/gx10_host/{name}"
    place = module.parent / f"__pycache__/{module.name}.{sys.implementation.cache_tag}.pyc"
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(source), cfile=str(place), doraise=True, invalidation_mode=mode)


def test_byte_code_that_somebody_planted_is_not_read(installed: Path) -> None:
    planted(installed, "content/manifest")
    done = help_of(installed, "content")
    assert (done.returncode, "PLANTED" in done.stdout) == (0, False)
    program = f"import sys; sys.path.insert(0, {str(installed / 'lib')!r}); import gx10_host.content.manifest"
    plain = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "PLANTED" in plain.stdout, "the control: an import like any other would read it"


def test_a_library_that_somebody_planted_in_a_modules_place_is_not_loaded(installed: Path) -> None:
    for name in ("__main__", "content/manifest", "content/__init__", "exits"):
        (installed / f"lib/gx10_host/{name}.so").write_bytes(b"no library")
    assert help_of(installed, "content").returncode == 0


@pytest.mark.parametrize("verb", ["ranks", "completion", "rank-gate", "control"])
def test_nothing_beside_the_entry_or_its_package_is_loaded_in_place_of_pythons_own(installed: Path, verb: str) -> None:
    for place in (installed / "bin", installed / "lib", installed / "lib/gx10_host"):
        (place / "json").mkdir()
        (place / "json/__init__.py").write_text("raise SystemExit('PLANTED')")
        (place / "argparse.py").write_text("raise SystemExit('PLANTED')")
    done = help_of(installed, verb)
    assert (done.returncode, "PLANTED" in done.stderr) == (0, False)


def test_what_the_environment_names_is_not_loaded(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "path/gx10_host").mkdir(parents=True)
    for name in ("argparse", "gx10_host/__init__"):
        (tmp_path / f"path/{name}.py").write_text("raise SystemExit('PLANTED')")
    for verb in ("content", "ranks"):
        assert "PLANTED" not in help_of(installed, verb, PYTHONPATH=str(tmp_path / "path")).stderr

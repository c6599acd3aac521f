"""Programs of a host load the standard library and each other's texts: no byte code, nothing that lies beside them."""

from __future__ import annotations

import ast
import os
import py_compile
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gx10.settings import PROJECT

from .host_side import PROGRAMS

TOGETHER, ALONE = "#!/usr/bin/python3 -BEsXpycache_prefix=/dev/null", "#!/usr/bin/python3 -BI"
"""No byte code is written or read, no variable or user's package counts; alone, nothing beside the program either."""
MODULES = {path.stem for path in PROGRAMS.glob("*.py")}
EXECUTABLE = sorted(path for path in PROGRAMS.glob("*.py") if path.read_text().startswith("#!"))


def imported(path: Path) -> set[str]:
    """Modules beside a program that it imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found & MODULES


@pytest.mark.parametrize("program", EXECUTABLE, ids=lambda path: path.stem)
def test_a_program_says_how_python_runs_it(program: Path) -> None:
    first = program.read_text().splitlines()[0]
    assert first == (TOGETHER if imported(program) else ALONE)


def test_programs_are_run_by_their_path_so_that_their_first_line_counts() -> None:
    by_hand = re.compile(r"python3[\"',]*\s+[\"',f]*/(usr/local/lib/gx10|\{PROGRAMS\})|python3\", (CONTROL|EXPLAIN)")
    places = [*PROJECT.glob("templates/**/*.j2"), *PROJECT.glob("gx10/**/*.py"), *PROJECT.glob("tasks/*.py")]
    places += [*PROJECT.glob("tests/chaos/*.py"), *PROJECT.glob("tests/nodes/*.py"), *PROJECT.glob("docs/**/*.md")]
    found = [str(path.relative_to(PROJECT)) for path in places if by_hand.search(path.read_text())]
    assert found == []


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """The programs as they lie on a host, run by the Python of this test."""
    shutil.copytree(PROGRAMS, tmp_path / "gx10", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (tmp_path / "gx10").glob("*.py"):
        text = path.read_text()
        if text.startswith("#!"):
            path.write_text(text.replace("/usr/bin/python3", sys.executable, 1))
            path.chmod(0o755)
    return tmp_path / "gx10"


def help_of(program: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    return subprocess.run([program, "--help"], capture_output=True, text=True, timeout=60, check=False, env=env)


@pytest.mark.parametrize("name", ["content", "image_gc", "partition", "ranks", "completion", "share"])
def test_running_a_program_leaves_no_byte_code(programs: Path, name: str) -> None:
    done = help_of(programs / f"{name}.py")
    assert done.returncode == 0, done.stderr
    assert not list(programs.rglob("__pycache__"))


def planted(programs: Path, name: str) -> None:
    """Byte code that Python takes without looking at the text that it stands for."""
    source = programs.parent / "evil.py"
    source.write_text("print('PLANTED')\n")
    for place in (programs / "__pycache__" / f"{name}.{sys.implementation.cache_tag}.pyc",):
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(source), cfile=str(place), doraise=True, invalidation_mode=mode)


def test_byte_code_that_somebody_planted_is_not_read(programs: Path) -> None:
    planted(programs, "manifest")
    done = help_of(programs / "content.py")
    assert (done.returncode, "PLANTED" in done.stdout) == (0, False)
    text = (programs / "content.py").read_text()
    (programs / "content.py").write_text(text.replace(TOGETHER[len("#!/usr/bin/python3") :], ""))
    assert "PLANTED" in help_of(programs / "content.py").stdout, "the control: without its first line it would be"


@pytest.mark.parametrize("name", ["ranks", "completion", "rank_gate", "gang_control"])
def test_nothing_beside_a_program_that_needs_nothing_there_is_loaded(programs: Path, name: str) -> None:
    (programs / "json").mkdir()
    (programs / "json/__init__.py").write_text("raise SystemExit('PLANTED')")
    (programs / "argparse.py").write_text("raise SystemExit('PLANTED')")
    assert "PLANTED" not in help_of(programs / f"{name}.py").stderr


def test_what_the_environment_names_is_not_loaded(programs: Path, tmp_path: Path) -> None:
    (tmp_path / "path").mkdir()
    (tmp_path / "path/argparse.py").write_text("raise SystemExit('PLANTED')")
    for name in ("content", "ranks"):
        assert "PLANTED" not in help_of(programs / f"{name}.py", PYTHONPATH=str(tmp_path / "path")).stderr

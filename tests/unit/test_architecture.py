"""What import-linter does not judge: what hosts' programs may import, and how long a file may be without a reason."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gx10.settings import PROJECT

LIBRARIES = PROJECT / "files/usr/local/lib"
"""What runs on hosts, below the directory that Python is given there."""
LONGEST = 300
"""Lines of a file that needs no reason."""
IN_THE_IMAGE = {"hub.py": "huggingface_hub"}
"""What runs inside a container of the engine's image, and which library of that image it is for."""
REASON = "one file because"
"""How the head of a longer one begins its reason."""


def outside(path: Path, own: Path) -> Iterator[str]:
    """What a host's program imports that neither Python nor the directory of its library brings."""
    # A package's own name leads to its modules; a directory of programs has them beside each other.
    own_names = {own.name} if (own / "__init__.py").is_file() else {entry.stem for entry in own.iterdir()}
    there = sys.stdlib_module_names | own_names | {IN_THE_IMAGE.get(path.name, "")}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (
            f"{path.relative_to(own.parent)} imports {name}" for name in names if name.split(".")[0] not in there
        )


def test_programs_of_hosts_import_the_standard_library_and_each_other() -> None:
    libraries = [path for path in LIBRARIES.iterdir() if path.is_dir()]
    programs = [(path, library) for library in libraries for path in library.rglob("*.py")]
    assert len(programs) > 20
    assert [name for path, library in programs for name in outside(path, library)] == []


@pytest.mark.parametrize("line", ["import yaml", "from pyinfra import host", "def late():\n    import gx10.settings"])
def test_a_program_that_imports_more_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "program.py"
    path.write_text(f"import json\n{line}\n")
    assert len(list(outside(path, tmp_path))) == 1


def unexplained(path: Path) -> bool:
    """Whether a file is long, and its head does not say why it is one."""
    text = path.read_text(encoding="utf-8")
    return len(text.splitlines()) > LONGEST and REASON not in (ast.get_docstring(ast.parse(text)) or "").lower()


def test_a_long_file_says_why_it_is_one() -> None:
    files = [*(PROJECT / "gx10").rglob("*.py"), *(PROJECT / "tasks").rglob("*.py"), *LIBRARIES.rglob("*.py")]
    assert [str(path.relative_to(PROJECT)) for path in files if unexplained(path)] == []


def test_a_long_file_without_a_reason_is_named(tmp_path: Path) -> None:
    path = tmp_path / "long.py"
    path.write_text('"""Does much."""\n' + "x = 1\n" * LONGEST)
    assert unexplained(path)
    path.write_text('"""Does much. In one file because none of its parts stands alone."""\n' + "x = 1\n" * LONGEST)
    assert not unexplained(path)

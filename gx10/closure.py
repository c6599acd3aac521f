"""What a module of the hosts' package needs of it, computed from what it imports; no pyinfra."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = "gx10_host"
LIBRARY = "files/usr/local/lib"
"""Where the package lies in the project, as it does on a host."""


@cache
def closure(project: Path, module: str) -> dict[str, str]:
    """Texts of a module of the package and of everything in it that it imports, directly or not, by file.

    Packages that a module lies in count: Python loads them first. Raises FileNotFoundError for a module that is none.
    """
    library = project / LIBRARY
    texts: dict[str, str] = {}
    waiting = [f"{PACKAGE}.{module}"]
    while waiting:
        name = waiting.pop()
        file = _file(library, name)
        if file is None:
            raise FileNotFoundError(f"{name} is no module of {library / PACKAGE}")
        if file not in texts:
            texts[file] = (library / file).read_text(encoding="utf-8")
            waiting += _needed(library, name, file)
    return dict(sorted(texts.items()))


def _file(library: Path, name: str) -> str | None:
    """The file of a module, relative to the library; None where there is no such module."""
    path = name.replace(".", "/")
    return next((file for file in (f"{path}.py", f"{path}/__init__.py") if (library / file).is_file()), None)


@cache
def _needed(library: Path, name: str, file: str) -> tuple[str, ...]:
    """Modules of the package that a module imports by itself, and the packages that it lies in."""
    text = (library / file).read_text(encoding="utf-8")
    package = name if file.endswith("/__init__.py") else name.rpartition(".")[0]
    parts = name.split(".")
    parents = [".".join(parts[:count]) for count in range(1, len(parts))]
    named = {each for statement in _statements(ast.parse(text)) for each in _imported(statement, package)}
    return (*parents, *sorted(each for each in named if each.split(".")[0] == PACKAGE and _file(library, each)))


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Every statement, wherever it is nested, and no expression: those are nearly all of a tree."""
    for block in ("body", "orelse", "handlers", "finalbody", "cases"):
        for statement in getattr(node, block, ()):
            yield statement
            yield from _statements(statement)


def _imported(node: ast.AST, package: str) -> Iterator[str]:
    """Names that a statement imports, absolute: what follows `import` may be a module or a name in one."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
        source = ".".join([*above, *([node.module] if node.module else [])])
        yield source
        yield from (f"{source}.{alias.name}" for alias in node.names)

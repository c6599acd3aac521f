"""How a program of the hosts' package runs on a host from this node's copy; text only, no pyinfra.

A probe judges what lies on the host, which may be what has drifted; a writer runs before anything does. So each brings
the modules that it imports, in the command itself.
"""

from __future__ import annotations

import binascii
import json
import shlex
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from gx10.closure import closure

PROJECT = Path(__file__).resolve().parents[1]
PYTHON = ("python3", "-I", "-S", "-c")
"""Isolated and without site: half the start-up time, and nothing of the host's own Python can interfere."""
IMPORTER = """import binascii, json, sys, zlib
from importlib.machinery import ModuleSpec
class Carried:
    texts = json.loads(zlib.decompress(binascii.a2b_base64({packed!r})))
    def find_spec(self, name, path=None, target=None):
        file = name.replace(".", "/")
        for origin in (file + ".py", file + "/__init__.py"):
            if origin in self.texts:
                return ModuleSpec(name, self, origin=origin, is_package=origin.endswith("/__init__.py"))
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        origin = module.__spec__.origin
        exec(compile(self.texts[origin], origin, "exec"), module.__dict__)
sys.meta_path.insert(0, Carried())
"""
START = "from gx10_host.{module} import main\nsys.exit(main(sys.argv[1:]))\n"


@cache
def carried(*modules: str) -> str:
    """The text of a program that can import these modules of the hosts' package, wherever it runs."""
    texts: dict[str, str] = {}
    for module in modules:
        texts |= closure(PROJECT, module)
    packed = binascii.b2a_base64(zlib.compress(json.dumps(texts).encode(), 9), newline=False).decode()
    return IMPORTER.format(packed=packed)


def program_words(module: str, *arguments: str) -> list[str]:
    """The command that runs a module's `main` from this node's copy, on a host that may have none."""
    return [*PYTHON, carried(module) + START.format(module=module), *arguments]


def writer_words(writer: str) -> list[str]:
    """The command that runs a writer, which takes what to write on its standard input."""
    return program_words(f"write.{writer}")


def probe_words(probe: str, asked: dict[str, Any]) -> list[str]:
    """The command that runs a probe on a host with what is asked of it."""
    return program_words(f"probes.{probe}", json.dumps(asked, sort_keys=True))


def probe_command(probe: str, asked: dict[str, Any]) -> str:
    """The same command, quoted for a shell."""
    return shlex.join(probe_words(probe, asked))


def survey_words(questions: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    """One command that runs several probes in one process, each answering with one line; null where one failed."""
    probes = sorted({probe for probe, _ in questions})
    text = carried("probes.survey", *(f"probes.{probe}" for probe in probes))
    return [
        *PYTHON,
        text + START.format(module="probes.survey"),
        json.dumps([list(question) for question in questions]),
    ]


def probes_words(*questions: tuple[str, dict[str, Any]]) -> list[str]:
    """One command that runs several probes, each answering with one line; the first that fails ends it."""
    return ["sh", "-ec", "\n".join(probe_command(probe, asked) for probe, asked in questions)]

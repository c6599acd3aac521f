"""Programs that a host runs to answer everything about one concern as JSON; text only, no pyinfra."""

from __future__ import annotations

import base64
import json
import shlex
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

PROBES = Path(__file__).with_name("facts") / "probes"
PROGRAMS = Path(__file__).resolve().parents[1] / "files/usr/local/lib/gx10"
CARRIED = {
    "content": ("manifest",),
    "leftovers": ("manifest", "proof", "landing", "image_store", "docker_image", "image_gc"),
    "sample": ("manifest", "proof", "landing"),
    "reconciler_wheels": ("environment",),
    "watch": ("environment",),
}
"""Modules of the host's programs that a probe uses, each after those that it imports. The probe brings its own copies:
the host's may be what has drifted, and what judges it must not fail or lie with it."""
CARRY = """import base64, json, sys, types, zlib
for name, text in json.loads(zlib.decompress(base64.b64decode({packed!r}))):
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(text, name, "exec"), module.__dict__)
"""


@cache
def _probe(name: str) -> str:
    return (PROBES / f"{name}.py").read_text(encoding="utf-8")


@cache
def _modules(names: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(name, (PROGRAMS / f"{name}.py").read_text(encoding="utf-8")) for name in names]


@cache
def _source(probe: str) -> str:
    """A probe with the modules that it uses."""
    carried = CARRIED.get(probe, ())
    return CARRY.format(packed=_packed(_modules(carried))) + _probe(probe) if carried else _probe(probe)


def _packed(texts: object) -> str:
    return base64.b64encode(zlib.compress(json.dumps(texts).encode(), 9)).decode()


def probe_words(probe: str, asked: dict[str, Any]) -> list[str]:
    """The command that runs a probe on a host with what is asked of it."""
    # Isolated and without site: half the start-up time, and nothing of the host's own Python can interfere.
    return ["python3", "-I", "-S", "-c", _source(probe), json.dumps(asked, sort_keys=True)]


def program_words(program: str, needs: Sequence[str], *arguments: str) -> list[str]:
    """The command that runs one of the hosts' programs from this node's copy, on a host that may have none.

    `needs` are the modules that it uses, each after those that it imports.
    """
    carried = CARRY.format(packed=_packed(_modules((*needs, program))))
    return ["python3", "-I", "-S", "-c", f"{carried}import {program}\n{program}.main()\n", *arguments]


def probe_command(probe: str, asked: dict[str, Any]) -> str:
    """The same command, quoted for a shell."""
    return shlex.join(probe_words(probe, asked))


def survey_words(questions: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    """One command that runs several probes in one process, each answering with one line; null where one failed."""
    probes = sorted({probe for probe, _ in questions})
    # Each module once, before those that import it, as every list has them.
    modules = tuple(dict.fromkeys(module for probe in probes for module in CARRIED.get(probe, ())))
    packed = _packed({"modules": _modules(modules), "programs": {probe: _probe(probe) for probe in probes}})
    return probe_words("survey", {"packed": packed, "questions": [list(question) for question in questions]})


def probes_words(*questions: tuple[str, dict[str, Any]]) -> list[str]:
    """One command that runs several probes, each answering with one line; the first that fails ends it."""
    return ["sh", "-ec", "\n".join(probe_command(probe, asked) for probe, asked in questions)]

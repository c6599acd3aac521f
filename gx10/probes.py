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
for name, text in json.loads({texts}):
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(text, name, "exec"), module.__dict__)
"""


@cache
def _source(probe: str, *, packed: bool) -> str:
    """A probe with the modules that it uses; not packed where all probes of a survey are packed as one."""
    source = (PROBES / f"{probe}.py").read_text(encoding="utf-8")
    modules = [(name, (PROGRAMS / f"{name}.py").read_text(encoding="utf-8")) for name in CARRIED.get(probe, ())]
    if not modules:
        return source
    texts = f"zlib.decompress(base64.b64decode({_packed(modules)!r}))" if packed else repr(json.dumps(modules))
    return CARRY.format(texts=texts) + source


def _packed(texts: object) -> str:
    return base64.b64encode(zlib.compress(json.dumps(texts).encode(), 9)).decode()


def probe_words(probe: str, asked: dict[str, Any]) -> list[str]:
    """The command that runs a probe on a host with what is asked of it."""
    # Isolated and without site: half the start-up time, and nothing of the host's own Python can interfere.
    return ["python3", "-I", "-S", "-c", _source(probe, packed=True), json.dumps(asked, sort_keys=True)]


def probe_command(probe: str, asked: dict[str, Any]) -> str:
    """The same command, quoted for a shell."""
    return shlex.join(probe_words(probe, asked))


def survey_words(questions: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    """One command that runs several probes in one process, each answering with one line; null where one failed."""
    programs = _packed({probe: _source(probe, packed=False) for probe in sorted({probe for probe, _ in questions})})
    return probe_words("survey", {"programs": programs, "questions": [list(question) for question in questions]})


def probes_words(*questions: tuple[str, dict[str, Any]]) -> list[str]:
    """One command that runs several probes, each answering with one line; the first that fails ends it."""
    return ["sh", "-ec", "\n".join(probe_command(probe, asked) for probe, asked in questions)]

"""Programs that a host runs to answer everything about one concern as JSON; text only, no pyinfra."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

PROBES = Path(__file__).with_name("facts") / "probes"


def probe_words(probe: str, asked: dict[str, Any]) -> list[str]:
    """The command that runs a probe on a host with what is asked of it."""
    source = (PROBES / f"{probe}.py").read_text(encoding="utf-8")
    # Isolated and without site: half the start-up time, and nothing of the host's own Python can interfere.
    return ["python3", "-I", "-S", "-c", source, json.dumps(asked, sort_keys=True)]


def probe_command(probe: str, asked: dict[str, Any]) -> str:
    """The same command, quoted for a shell."""
    return shlex.join(probe_words(probe, asked))


def probes_words(*questions: tuple[str, dict[str, Any]]) -> list[str]:
    """One command that runs several probes, each answering with one line; the first that fails ends it."""
    return ["sh", "-ec", "\n".join(probe_command(probe, asked) for probe, asked in questions)]

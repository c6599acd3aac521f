"""Runs the machine's own commands and turns their failure into a sentence."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence

from .errors import LabError


def must(argv: Sequence[str], purpose: str, *, stdin: str | None = None) -> str:
    """Run a command that has to succeed and return what it printed; LabError says what `purpose` failed and how."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip() or "nothing"
        raise LabError(f"Could not {purpose}: `{shlex.join(argv)}` ended with {done.returncode} and said: {said}")
    return done.stdout


def succeeds(argv: Sequence[str]) -> bool:
    """Whether a command that only asks says yes."""
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0

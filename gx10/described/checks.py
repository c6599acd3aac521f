"""The checks on every node, as they are run by whoever wants a verdict."""

from __future__ import annotations

import sys
from pathlib import Path

QUIET = ("-q", "--no-header")
"""A line for each check that fails, and little else."""


def check_words(project: Path, *options: str) -> list[str]:
    """The command that runs a project's checks; nothing is left behind, whoever runs it and wherever."""
    return [sys.executable, "-m", "pytest", str(project / "tests" / "nodes"), "-p", "no:cacheprovider", *options]

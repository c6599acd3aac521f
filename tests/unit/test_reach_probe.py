"""A file that a run asks for and cannot read is told, and never taken for one that is not there."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gx10.access.suspension import Suspension
from gx10.probes import probe_words


def read(path: Path) -> object:
    """What the probe tells of a file."""
    words = [sys.executable, *probe_words("reach", {"read": {"suspension": str(path)}})[1:]]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found: object = json.loads(done.stdout)["read"]["suspension"]
    return found


def test_a_damaged_suspension_is_an_error_and_no_permission(tmp_path: Path) -> None:
    file = tmp_path / "suspended.json"
    assert Suspension.read(read(file), datetime.now(UTC)) is None
    file.write_text("{")
    with pytest.raises(ValueError, match="the suspension on the head cannot be read"):
        Suspension.read(read(file), datetime.now(UTC))

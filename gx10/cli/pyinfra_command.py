"""pyinfra as a command of `gx10` runs it: in the foreground, without a question, with this package's exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from gx10.described.description import Description
from gx10.interrupts import INTERRUPTED, foreground


def deployed(description: Description, deploy: str, environment: Mapping[str, str] | None = None) -> int:
    """Run one of the project's deploys; 0, 1, or an interrupt's. pyinfra's own 2 would mean drift."""
    words = [str(Path(sys.executable).with_name("pyinfra")), "inventory.py", deploy, "-y"]
    status = foreground(words, description.project, {**os.environ, **(environment or {})})
    if status < 0:  # killed by a signal
        return INTERRUPTED - status
    return status if status == 0 or status > INTERRUPTED else 1

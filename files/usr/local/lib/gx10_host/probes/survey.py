"""Many probes in one process: argv[0] is JSON [[name, asked], ...]; one line for each.

Python starts once, and reads its libraries and the probes once; each probe runs in a child of its own, so that it ends,
or fails, for itself alone. Then its line is null: whoever asks it again, alone, hears why.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from typing import Any


def answered(probe: str, asked: Any) -> str:
    """The line that a probe prints, or null."""
    with tempfile.TemporaryFile() as said:
        if child := os.fork():
            _, status = os.waitpid(child, 0)
            said.seek(0)
            line = said.read().decode().strip()
            return line if status == 0 and line and "\n" not in line else "null"
        status = 1
        try:
            os.dup2(said.fileno(), sys.stdout.fileno())
            ended = importlib.import_module(f"gx10_host.probes.{probe}").main([json.dumps(asked)])
            sys.stdout.flush()
            status = ended or 0
        finally:
            os._exit(status)


def main(argv: Sequence[str]) -> int:
    questions = json.loads(argv[0])
    for probe in dict.fromkeys(probe for probe, _ in questions):
        # Here, so that no child has to; one that cannot be imported fails where it is asked.
        with contextlib.suppress(Exception):
            importlib.import_module(f"gx10_host.probes.{probe}")
    for probe, asked in questions:
        print(answered(probe, asked), flush=True)
    return 0

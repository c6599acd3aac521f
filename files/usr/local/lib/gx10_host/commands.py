"""What other programs of this host say."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence


def output(*argv: str, stdin: str | None = None, fine: Sequence[int] = (0,), seconds: float = 30) -> str:
    """What a command prints; one that does not run or answer makes the state unknown, which is an error."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, input=stdin, timeout=seconds, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        sys.exit(f"{argv[0]}: {error}")
    if done.returncode not in fine:
        sys.exit(f"{argv[0]}: {done.stderr.strip() or f'status {done.returncode}'}")
    return done.stdout

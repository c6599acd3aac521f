"""What other programs of this host say."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence


def tried(
    *argv: str, stdin: str | None = None, fine: Sequence[int] = (0,), seconds: float = 30
) -> tuple[str | None, str]:
    """What a command prints; None, and why, of one that does not run or answer."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, input=stdin, timeout=seconds, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, str(error)
    if done.returncode not in fine:
        return None, done.stderr.strip() or f"status {done.returncode}"
    return done.stdout, ""


def output(*argv: str, stdin: str | None = None, fine: Sequence[int] = (0,), seconds: float = 30) -> str:
    """What a command prints; one that does not run or answer makes the state unknown, which is an error."""
    text, why = tried(*argv, stdin=stdin, fine=fine, seconds=seconds)
    if text is None:
        sys.exit(f"{argv[0]}: {why}")
    return text


def shown(properties: str, units: Sequence[str]) -> list[list[str]]:
    """What systemd holds of units, in their order: lines of NAME=VALUE for each."""
    if not units:
        return []
    blocks = output("systemctl", "show", "--property", properties, "--", *units).strip().split("\n\n")
    if len(blocks) != len(units):
        sys.exit(f"systemctl show: {len(blocks)} answers for {len(units)} units")
    return [block.splitlines() for block in blocks]

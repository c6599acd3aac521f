"""Types what the documents say, scenario by scenario, and writes docs/documented-commands.md.

    python -m tests.documented.run [--only WORDS] [--quick] [--list]

A run of a part replaces that part of the page alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gx10.lab.errors import LabError
from gx10.settings import PROJECT

from .case import Scenario
from .cases import SCENARIOS
from .play import Row, played
from .published import PAGE, SHOWN, Key, Outcome, key, keys, lines_key, page, published


def main() -> None:
    """Run, keep what was found, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="scenarios whose name holds these words")
    parser.add_argument("--quick", action="store_true", help="the part that CI runs")
    parser.add_argument("--list", action="store_true", help="print the names of the scenarios and end")
    arguments = parser.parse_args()
    named = [one for one in SCENARIOS if one.name == arguments.only]
    wanted = named or [one for one in SCENARIOS if arguments.only in one.name and (one.quick or not arguments.quick)]
    if arguments.list:
        print(*(one.name for one in wanted), sep="\n")
        return
    failures = 0
    for scenario in wanted:
        print(scenario.name, flush=True)
        with tempfile.TemporaryDirectory() as state:
            started = time.monotonic()
            ended: dict[Key, Outcome] = {}
            try:
                ended = _outcomes(scenario, played(scenario, Path(state)), started)
            except (AssertionError, LabError, subprocess.SubprocessError) as fault:
                failures += 1
                print(f"  {fault}", flush=True)
        outcomes = published(PAGE.read_text(encoding="utf-8"))
        outcomes |= dict.fromkeys(keys([scenario]), Outcome())
        PAGE.write_text(page(outcomes | ended), encoding="utf-8")
    print(f"{len(wanted) - failures} of {len(wanted)} situations are as their pages say")
    sys.exit(int(failures > 0))


def _outcomes(scenario: Scenario, rows: list[Row], started: float) -> dict[Key, Outcome]:
    commit = _commit()
    if not scenario.typed:
        return {lines_key(scenario): Outcome(SHOWN, f"{time.monotonic() - started:.1f}", commit)}
    return {key(scenario, step): Outcome(str(status), f"{seconds:.1f}", commit) for step, status, seconds in rows}


def _commit() -> str:
    """What is typed: the page that this writes is no part of it."""
    git = ["git", "-C", str(PROJECT)]
    name = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
    words = [*git, "diff", "--quiet", "HEAD", "--", ".", f":(exclude){PAGE.relative_to(PROJECT)}"]
    changed = subprocess.run(words, check=False).returncode
    return name.stdout.strip() + ("-dirty" if changed else "")


if __name__ == "__main__":
    main()

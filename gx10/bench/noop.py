"""What a deploy that changes nothing costs: wall time, CPU time, and commands asked of each host."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from gx10.operations.loop.connector import TRACE
from gx10.settings import PROJECT

MAX_SECONDS = 5.0
MAX_COMMANDS = 40
ROUNDS = 5


@dataclass(frozen=True)
class Round:
    """One deploy."""

    seconds: float
    cpu_seconds: float
    commands: dict[str, int]
    changed: int


def deploy(trace: Path) -> Round:
    """Run the deploy once and count; raises RuntimeError when it fails."""
    trace.unlink(missing_ok=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    done = subprocess.run(
        [Path(sys.executable).with_name("pyinfra"), "inventory.py", "deploy.py", "-y", "--json"],
        cwd=PROJECT,
        env={**os.environ, TRACE: str(trace)},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"the deploy ended with status {done.returncode}: {done.stderr[-2000:]}")
    told = [json.loads(line) for line in trace.read_text(encoding="utf-8").splitlines()]
    results = json.loads(done.stdout)["results"]
    return Round(
        seconds=seconds,
        cpu_seconds=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        commands={line["host"]: line["commands"] for line in told},
        changed=sum(len(operation["success"]) for operation in results["operations"]),
    )


def main() -> None:
    """Measure some rounds; exits with 1 when a bound is broken or a round changed something."""
    with TemporaryDirectory(prefix="gx10-") as directory:
        rounds = [deploy(Path(directory, "trace")) for _ in range(ROUNDS)]
    wall = sorted(each.seconds for each in rounds)
    most = max(count for each in rounds for count in each.commands.values())
    changed = sum(each.changed for each in rounds)
    sys.stdout.write(
        f"{ROUNDS} deploys without a change on {len(rounds[0].commands)} hosts\n"
        f"wall      median {median(wall):.2f} s, worst {wall[-1]:.2f} s (bound {MAX_SECONDS:g} s)\n"
        f"CPU here  median {median(each.cpu_seconds for each in rounds):.2f} s\n"
        f"commands  {rounds[-1].commands} (bound {MAX_COMMANDS})\n"
        f"changed   {changed} operations\n"
    )
    sys.exit(int(wall[-1] > MAX_SECONDS or most > MAX_COMMANDS or changed > 0))


if __name__ == "__main__":
    main()

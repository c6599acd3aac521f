"""No false restart: `python -m tests.chaos.soak --minutes 30` with long prefills, bursts and idle times."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from gx10.described.description import describe
from gx10.lab.lab import Lab

from .outside import Watcher, picture

PROJECT = Path(__file__).resolve().parents[2]
IDLE_SECONDS = 45
BURST = 12
PREFILL_WORDS = 10600
"""About 200 000 tokens: 110 s of prefill on two cores, in which no token comes out."""
LATE_SECONDS = 600


def asked(lab: Lab, words: int, tokens: int) -> subprocess.Popen[str]:
    """One request with a prompt of so many words."""
    description = describe("lab")
    url = f"http://{description.cluster.hosts[description.cluster.head].management}:{description.port}"
    client = "import sys; sys.path.insert(0, sys.argv[1]); import client, json; "
    client += f"print(json.dumps(client.once(sys.argv[2], sys.argv[3], {tokens}, {words}, {LATE_SECONDS})))"
    argv = [sys.executable, "-c", client, str(Path(__file__).parent), url, description.served_name]
    argv = ["ip", "netns", "exec", lab.names.lab, *argv]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def ended(requests: list[subprocess.Popen[str]]) -> list[dict[str, object]]:
    """What became of requests."""
    return [json.loads(request.communicate()[0]) for request in requests]


def main() -> None:
    """Soak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--prefill-words", type=int, default=PREFILL_WORDS)
    parser.add_argument("--out", type=Path, default=PROJECT / ".cache/soak.json")
    arguments = parser.parse_args()
    lab = Lab.for_checkout(PROJECT)
    now = picture(lab)
    if now is None or now["phase"] != "serving":
        raise SystemExit(f"soak: the gang does not serve: {now}")
    lives: set[str] = {now["life"]}
    told: list[dict[str, Any]] = []
    until = time.monotonic() + 60 * arguments.minutes
    with Watcher(lab) as watcher:
        while time.monotonic() < until:
            for kind, count, words, tokens in (
                ("prefill", 1, arguments.prefill_words, 4), ("burst", BURST, 50, 64), ("long answer", 2, 50, 400),
            ):  # fmt: skip
                began = time.monotonic()
                answers = ended([asked(lab, words, tokens) for _ in range(count)])
                outcomes = sorted(str(answer["outcome"]) for answer in answers)
                seen = picture(lab)
                if seen:
                    lives.add(seen["life"])
                told.append({"kind": kind, "seconds": round(time.monotonic() - began, 1), "outcomes": outcomes})
                print(told[-1], seen and (seen["phase"], seen["life"], seen["misses"]), flush=True)
            time.sleep(IDLE_SECONDS)
    good = len(lives) == 1 and all(set(one["outcomes"]) == {"ok"} for one in told) and not watcher.violations
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps({"lives": sorted(lives), "requests": told, "good": good}, indent=1))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()

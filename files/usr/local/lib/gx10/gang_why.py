#!/usr/bin/python3 -BEsXpycache_prefix=/dev/null
"""Says in a few sentences why the gang does not serve, or what happened to it last, with evidence.

gang_why.py [--incidents N]
"""

from __future__ import annotations

import argparse
import json
import pathlib
import time

from gang_control import picture

INCIDENTS = pathlib.Path("/var/lib/gx10/gang/incidents.jsonl")
LINES = 4


def incidents(path=INCIDENTS):
    """Records of lives that ended unplanned, oldest first."""
    try:
        return [json.loads(line) for line in path.read_text().splitlines()]
    except (OSError, ValueError):
        return []


def state(now):
    """Where the gang stands, as sentences."""
    if now is None:
        yield "The head's supervisor does not answer: look at `systemctl status gx10-gang` there."
        return
    ago = duration(time.time() - now["since"])
    what = {
        "serving": f"The gang serves as {now['life']}, for {ago}.",
        "starting": f"The gang is starting as {now['life']}, for {ago} now; it serves when a completion has come.",
        "gathering": f"No rank runs, for {ago} now; the next start waits for what follows.",
        "draining": f"The gang drains for {ago}: {now.get('reason')}. New requests are refused, running ones end.",
        "ending": f"Life {now['life']} is being ended: {now.get('reason')}.",
        "stopped": f"The gang was stopped {ago} ago: {now.get('reason')}. `gx10 start` starts it.",
        "failed": f"The budget was spent {ago} ago: {now.get('spent')}. `gx10 start` tries again.",
    }
    yield what[now["phase"]]
    for reason in now["waiting"]:
        yield f"It waits: {reason}."
    if now["fallback"]:
        yield f"It runs with fallback {now['fallback']}, {now['fallback_name']}; `gx10 start --full` undoes it."
    if back := now.get("rolled_back"):
        yield f"Generation {back['from']} did not start ({back['reason']}), so {back['to']} was put back."


def told(record):
    """What is known of the end of a life, as lines."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record["time"]))
    yield f"Life {record['life']} ended at {when} while {record['phase']}: {record['reason']}."
    if first := record.get("first"):
        at = time.strftime("%H:%M:%S", time.localtime(first["time"]))
        yield f"First to end was {first['part']} on {first['host']}, at {at}: {first['how']}."
    silent = sorted(record.get("silent", []))
    if silent:
        yield f"No evidence came from {', '.join(silent)}."
    if record.get("conclusion"):
        yield f"Conclusion: {record['conclusion']}."
    for host, evidence in sorted(record["evidence"].items()):
        yield f"  {host}: {evidence['memory'] or 'memory unknown'}"
        for line in evidence["kernel"][-LINES:]:
            yield f"    kernel: {line}"
        for part, lines in evidence["logs"].items():
            for line in lines[-LINES:]:
                yield f"    {part}: {line}"


def duration(seconds):
    """A time in words."""
    seconds = int(max(0, seconds))
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--incidents", type=int, default=1)
    arguments = parser.parse_args()
    print("\n".join(state(picture())))
    for record in incidents()[-arguments.incidents :]:
        print("\n".join(told(record)))


if __name__ == "__main__":
    main()

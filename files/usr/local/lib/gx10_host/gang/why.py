"""Says on one screen why the gang does not serve, or what happened to it last, with evidence.

    gx10-host why [--full]

First where the gang stands, then how its last life that ended unplanned did: what ended first and how, and of every
part the lines that say why, in the order of time. With --full everything that was kept of that life follows. Exit
status: 0 the gang serves, 2 it does not, 1 the supervisor does not answer.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pathlib
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gx10_host import checked
from gx10_host.checked import clean
from gx10_host.exits import FAILED, OTHERWISE

from .control import picture
from .store import LONGEST

INCIDENTS = pathlib.Path("/var/lib/gx10/gang/incidents.jsonl")
CONFIG = pathlib.Path("/etc/gx10/gang.json")
LONGEST_LIST = 64 * 1024 * 1024
"""Bytes of the list of incidents that are read: it is kept far shorter."""
LINES, COLUMNS = 24, 120
"""One screen."""
STATE_LINES, RECORD_LINES = 10, 6
FIRST_LINES = 5
"""Most lines of the part that ended first; every other part has its turn before it has more."""
FOREIGN_NOW_SECONDS = 5
"""A head orders every second; one that was last heard longer ago has stood down or is off."""


UNTOLD = (LookupError, TypeError, ValueError, AttributeError, OverflowError)
"""What comes of telling a file in which something else was written."""
Record = dict[str, Any]
"""A picture of the gang, or an incident, as they stand in their files; older supervisors wrote them as well."""


def incidents(path: pathlib.Path = INCIDENTS) -> list[Record]:
    """Records of lives that ended unplanned, oldest first."""
    records = []
    try:
        with path.open("rb") as file:
            lines = file.read(LONGEST_LIST).split(b"\n")
    except OSError:
        return []
    for line in lines:
        # One damaged line does not hide the others.
        with contextlib.suppress(*UNTOLD):
            records.append(_record(checked.parse(line, LONGEST, LONGEST)))
    return records


def _record(record: Record) -> Record:
    """A record that can be told; raises one of the errors of looking into it where it cannot."""
    for found in record["evidence"].values():
        found["kernel"] = timed(found["kernel"], record["time"])
        found["logs"] = {part: timed(lines, record["time"]) for part, lines in found["logs"].items()}
    [*ended(record), *evidence(record, LINES, {}), *everything(record)]
    return record


def timed(lines: list[Any], moment: float) -> list[Any]:
    """Lines with their times; an older supervisor wrote them down without."""
    return [[moment, line] if isinstance(line, str) else line for line in lines]


def names(path: pathlib.Path = CONFIG) -> dict[str, str]:
    """Hosts' names by their fabric address, as Ray and the engine write it."""
    try:
        return {address: name for name, address in json.loads(path.read_text())["hosts"].items()}
    except (OSError, ValueError, LookupError, AttributeError):
        return {}


def state(now: Record | None) -> Iterator[str]:
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
        "deposed": f"This head stands down, for {ago}: {now.get('reason')}. It orders nobody and runs nothing.",
    }
    yield what[now["phase"]]
    if now["phase"] in ("gathering", "starting") and now.get("failures"):
        yield f"It is attempt {now['failures'] + 1} of {now['attempts']}; the last: {now.get('failed_for')}."
    for sender in now.get("foreign", []):
        yield foreign(sender)
    for sender in now.get("malformed", []):
        yield malformed(sender)
    for fault in now.get("faults", []):
        yield (
            f"The supervisor of {fault['host']} failed in {fault['step']} {fault['times']} times, the last "
            f"{duration(fault['last_seconds'])} ago: {fault['error']}."
        )
    for reason in now["waiting"]:
        yield f"It waits: {reason}."
    if now["fallback"]:
        yield f"It runs with fallback {now['fallback']}, {now['fallback_name']}; `gx10 start --full` undoes it."
    if back := now.get("rolled_back"):
        yield f"Generation {back['from']} did not start ({back['reason']}), so {back['to']} was put back."


def foreign(sender: Record) -> str:
    """Who else gives orders to hosts of this gang, as a sentence."""
    silent = time.time() - sender["last"]
    last = "and it goes on" if silent < FOREIGN_NOW_SECONDS else f"the last {duration(silent)} ago"
    return (
        f"A foreign head, {sender['head']} ({sender['address']}, cluster {sender['cluster']}), gave {sender['orders']} "
        f"orders to {', '.join(sender['hosts'])} since {clock(sender['since'], '%Y-%m-%d %H:%M:%S')} UTC, {last}. All "
        "were refused. `systemctl disable --now gx10-gang` there ends it."
    )


def malformed(sender: Record) -> str:
    """Who sends what is no message of a supervisor, as a sentence."""
    silent = time.time() - sender["last"]
    return (
        f"{sender['address']} sent {sender['messages']} messages to {', '.join(sender['hosts'])} that are none since "
        f"{clock(sender['since'], '%Y-%m-%d %H:%M:%S')} UTC, the last {duration(silent)} ago: {sender['reason']}. "
        "They changed nothing."
    )


def ended(record: Record) -> Iterator[str]:
    """How a life ended, as sentences."""
    when = clock(record["time"], "%Y-%m-%d %H:%M:%S")
    yield f"Life {record['life']} ended at {when} UTC while {record['phase']}: {record['reason']}."
    if first := record.get("first"):
        yield f"First to end was {first['part']} on {first['host']}, at {clock(first['time'])}: {first['how']}."
    silent = sorted(record.get("silent", []))
    if silent:
        yield f"No evidence came from {', '.join(silent)}."
    if record.get("conclusion"):
        yield f"Conclusion: {record['conclusion']}."
    memory = [f"{host}: {gib(found['memory'])}" for host, found in sorted(record["evidence"].items())]
    if memory:
        yield f"Memory available then, in GiB: {', '.join(memory)}."


def evidence(record: Record, count: int, known: Mapping[str, str]) -> Iterator[str]:
    """The lines that say why, of every part, in the order of time; what ended first has most of them."""
    parts = {}
    for host, found in record["evidence"].items():
        offset = found.get("clock_offset", 0)
        for part, lines in {"kernel": found["kernel"], **found.get("telling", {})}.items():
            said = [(moment - offset, host, part, text) for moment, text in lines]
            if said:
                parts[host, part] = said
    first = record.get("first") or {}
    ended_first = first.get("host"), first.get("part")

    def turn(key: tuple[str, str]) -> tuple[Any, ...]:
        host, part = key
        return key != ended_first, part != "kernel", host != record.get("host"), part != "engine", host

    order = sorted(parts, key=turn)
    chosen = [line for key in order[:1] for line in parts[key][:FIRST_LINES]]
    left = {key: parts[key][FIRST_LINES if number == 0 else 0 :] for number, key in enumerate(order)}
    # Every other part in turn, then what is left of each.
    while any(left.values()) and len(chosen) < count:
        for key in order[1:] + order[:1]:
            chosen += left[key][:1]
            left[key] = left[key][1:]
    for moment, host, part, text in sorted(chosen[:count]):
        named = text.strip()
        for address, name in known.items():
            named = named.replace(address, name)
        yield cut(f"  {clock(moment)} {host} {part}: {named}")


def everything(record: Record) -> Iterator[str]:
    """All that was kept of a life that ended, host by host."""
    for host, found in sorted(record["evidence"].items()):
        yield f"{host}: {found['memory'] or 'memory unknown'}"
        for part, lines in {"kernel": found["kernel"], **found["logs"]}.items():
            for moment, text in lines:
                yield f"  {clock(moment)} {part}: {text.rstrip()}"


def screen(now: Record | None, record: Record | None, known: Mapping[str, str]) -> list[str]:
    """Everything that fits on one screen, as lines."""
    lines = wrapped(state(now), STATE_LINES)
    if record is None:
        return lines
    lines += wrapped(ended(record), RECORD_LINES)
    lines += list(evidence(record, LINES - len(lines) - 1, known)) or ["No line of any log of that life says why."]
    return [*lines, "`gx10 why --full` shows everything that was kept; `gx10 logs` the logs of all hosts."]


def wrapped(sentences: Iterable[str], most: int) -> list[str]:
    """Sentences as lines of the screen's width, no more than so many."""
    lines = [
        line for sentence in sentences for line in textwrap.wrap(sentence, COLUMNS, subsequent_indent="  ") or [""]
    ]
    return lines if len(lines) <= most else [*lines[: most - 1], f"  … and {len(lines) - most + 1} lines more: --full"]


def cut(line: str) -> str:
    """A line that fits."""
    return line if len(line) <= COLUMNS else f"{line[: COLUMNS - 1]}…"


def clock(moment: float, form: str = "%H:%M:%S") -> str:
    """A moment in UTC, as the logs have it."""
    return time.strftime(form, time.gmtime(moment))


def gib(memory: str) -> str:
    """Figure of a line of /proc/meminfo, in GiB."""
    figures = [word for word in memory.split() if word.isdigit()]
    return f"{int(figures[0]) / 2**20:.1f}" if figures else "unknown"


def duration(seconds: float) -> str:
    """A time in words."""
    seconds = int(max(0, seconds))
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"


def main(argv: list[str]) -> int | None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    arguments = parser.parse_args(argv)
    now, records = picture(), incidents()
    try:
        list(state(now))
    except UNTOLD:
        now = None
    record = records[-1] if records else None
    if arguments.full:
        lines = [*state(now), *([*ended(record), *everything(record)] if record else [])]
    else:
        lines = screen(now, record, names())
    print("\n".join(clean(line, LONGEST) for line in lines))
    if now is None:
        sys.exit(FAILED)
    sys.exit(0 if now["phase"] == "serving" else OTHERWISE)

"""What this host can say about a life that ended: memory, kernel lines, and of each log what says why and the last."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import threading
import time
from collections.abc import Mapping
from typing import Any

from . import log_lines

OUT_OF_MEMORY = re.compile(
    r"out of memory: killed process|oom-kill:|oom_reaper|NV_ERR_NO_MEMORY|CUDA out of memory|OutOfMemoryError"
    r"|CUDA_ERROR_OUT_OF_MEMORY",
    re.IGNORECASE,
)
KERNEL = re.compile(r"out of memory|oom|NVRM|NV_ERR|Xid|I/O error|segfault|link is down|hung task", re.IGNORECASE)
LINES = 12
LAST_LINES = 30
READ_LINES = 1000
LONGEST, SECONDS = 16 * 1024 * 1024, 15
"""A line of a journal may have 48 KiB."""


Entry = tuple[float, str, str | None]
"""Time, text and identifier of a line."""


def output(*words: str) -> list[str]:
    """Lines of what a command says, of which no more than LONGEST bytes and what comes within SECONDS is read."""
    try:
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as command:
            late = threading.Timer(SECONDS, command.kill)
            late.start()
            try:
                said = command.stdout.read(LONGEST) if command.stdout else b""
            finally:
                late.cancel()
                command.kill()
    except OSError:
        return []
    # Line feeds alone: a text may hold other ends of lines.
    return said.decode(errors="replace").split("\n")


def journal(*words: str, since: float, lines: int) -> list[Entry]:
    """Entries of the journal as (time, text, identifier), the oldest first."""
    options = ["--since", f"@{since:.0f}", "--no-pager", "--quiet", "--lines", str(lines), "--output", "json"]
    options += ["--output-fields", "MESSAGE,SYSLOG_IDENTIFIER"]
    entries: list[Entry] = []
    for line in output("journalctl", *options, *words):
        try:
            entry = json.loads(line)
            moment, text = int(entry["__REALTIME_TIMESTAMP"]) / 1e6, _text(entry.get("MESSAGE"))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            continue
        entries.append((moment, log_lines.COLOUR.sub("", text), _text(entry.get("SYSLOG_IDENTIFIER")) or None))
    return entries


def _text(value: object) -> str:
    """A field of an entry: text, the numbers of bytes that are none, or a list of either where it stands twice."""
    if isinstance(value, list):
        if all(isinstance(number, int) and 0 <= number < 256 for number in value):
            return bytes(value).decode(errors="replace")
        return " ".join(_text(one) for one in value)
    return value if isinstance(value, str) else ""


def collect(config: Mapping[str, Any], since: float) -> dict[str, Any]:
    """Evidence of this host about a life that began at `since`; lines stand with their times."""
    ended = time.time()
    since = since or ended - 600
    units = {"ray": config["ray_unit"], **({"engine": config["engine_unit"]} if config["engine_unit"] else {})}
    kernel = [line[:2] for line in journal("--dmesg", since=since, lines=400) if KERNEL.search(line[1])]
    logs = {part: journal("--unit", unit, since=since, lines=READ_LINES) for part, unit in units.items()}
    memory = [line[1] for entries in logs.values() for line in entries if OUT_OF_MEMORY.search(line[1])]
    memory += [line[1] for line in kernel if OUT_OF_MEMORY.search(line[1])]
    available = next(
        (line for line in pathlib.Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable")), ""
    )
    return {
        "kernel": [[moment, text[: log_lines.LONGEST]] for moment, text in kernel[-LINES:]],
        "out_of_memory": [text[: log_lines.LONGEST] for text in memory[-LINES:]],
        # What systemd says of a unit is in how its parts ended.
        "telling": {
            part: log_lines.telling([entry[:2] for entry in entries if entry[2] != "systemd"], ended, LINES)
            for part, entries in logs.items()
        },
        "logs": {
            part: [[moment, text[: log_lines.LONGEST]] for moment, text, _ in entries if text.strip()][-LAST_LINES:]
            for part, entries in logs.items()
        },
        "memory": available,
    }

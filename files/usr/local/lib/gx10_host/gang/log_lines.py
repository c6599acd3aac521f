"""Which lines of Ray's and the engine's logs say why something ended.

Most of a log stands in it in every life: start-up banners, progress, who asked for /metrics, the frames of a traceback.
What says why is an error, a gate that gives up, an exception's own line, a process that is missed. The rules go by
level and by wording, so that a banner which a new version words anew is still of the level INFO; and whatever a life
outlived by minutes did not end it, whatever it says. Of lines that differ in nothing but numbers the first counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

LONGEST = 300
OUTLIVED_SECONDS, LAST_WORDS_SECONDS = 180, 20
COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
IDENTITY = re.compile(r"\b[0-9a-f]{24,}\b")
NUMBER = re.compile(r"\b[0-9a-f]{8,}\b|\d+")
# What stands before the text: the process, and level, time and place as vLLM, Ray's C++ and Ray's Python write them.
PROCESS = re.compile(r"^\((?:APIServer|EngineCore|Worker)\w*(?: pid=\d+)?\) ?")
LEVELS = (
    re.compile(r"(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d [\d:]+ \[[^\]]*\] ?"),
    re.compile(r"\[[\d: ,-]+ (?P<level>[DIWEF]) \d+ \d+\] (?:\(\w+\) )?(?:[\w.]+:\d+: ?)?"),
    re.compile(r"[\d-]+ [\d:,]+\s+(?P<level>DEBUG|INFO|SUCC|WARN|WARNING|ERR|ERROR|CRITICAL|PANIC) [\w.]+:\d+ -- ?"),
    re.compile(r"(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL): {2,}"),
    re.compile(r"\[?(?P<level>[DIWEF])\d{4} [\d:. ]+[\w/.]+:\d+\] ?"),
)
REPEATED = re.compile(r"\[repeated \d+x across cluster\]")
FRAME = re.compile(r"^\s+\S|^(?:\^+|~+|Traceback \(most recent call last\)|During handling of|The above exception)")
NOISE = re.compile(
    r"No such container|^gx10-\w+$|Failed to determine local IP|numa_migrate_pages|NUMA binding"
    r'|^\{"text": |^Unable to find image|^WARNING: |^- |^\(\d+\) |fate shares with the agent|metrics exporter agent',
)
"""Known to mean nothing: what a stop answers, the first answer, what a host without the internet meets, and Ray's lists
of what may be."""
EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt|Timeout|OutOfMemory)\b(?::|$)")
TELLS = re.compile(
    r"gang gate: gave up|rank gate: gave up|completion: |gate: waiting"
    r"|\b(?:died|dead|killed|kill|fatal|abort\w*|crash\w*|panic|segfault|segmentation fault|core dumped|hung)\b"
    r"|out of memory|outofmemory|oom|NV_ERR|Xid|NCCL (?:WARN|error)|CUDA error|no space left|I/O error"
    r"|\berror:|\bfailed\b|failure|timed out|timeout|refused|unreachable|lost connection|unrecognized arguments"
    r"|exited|unexpected|terminated",
    re.IGNORECASE,
)
WAITS = re.compile(r"gate: waiting")
NO_NEWS = re.compile(r"See stack trace|See root cause above|EngineDeadError")
"""Points at another line, which says it."""


def bare(text: str) -> tuple[str, str]:
    """Level and text of a line without what stands before it; an empty level where none is told."""
    text = COLOUR.sub("", text).rstrip()[: 4 * LONGEST]
    level = ""
    while True:
        rest = PROCESS.sub("", text, count=1)
        # Ray hands on what its processes wrote: whose line it is stays, and what stands before their text goes.
        whose = re.match(r"^\((?:raylet|RayWorker\w*|ray::\w+|autoscaler|\w*Worker\w*)[^)]*\) ", rest)
        prefix, rest = (whose[0], rest[whose.end() :]) if whose else ("", rest)
        for pattern in LEVELS:
            if found := pattern.match(rest):
                level, rest = found["level"], rest[found.end() :]
                break
        rest = prefix + (PROCESS.sub("", rest, count=1) if prefix else rest)
        if rest == text:
            return level, text
        text = rest


def weight(level: str, text: str) -> int:
    """How much a line says of why something ended: 0 nothing, 1 it may, 2 it does."""
    said = re.sub(r"^\([^)]*\) ", "", text)
    if not said.strip() or REPEATED.search(said) or FRAME.match(said) or NOISE.search(said):
        return 0
    if EXCEPTION.match(said) or level in ("ERROR", "CRITICAL", "ERR", "PANIC", "E", "F"):
        return 2
    if level[:1] in ("D", "I", "S"):
        return 0
    if level[:1] == "W":
        return 1
    return 2 if TELLS.search(said) else 1


def shape(text: str) -> str:
    """What two lines have in common that differ in nothing but numbers."""
    return NUMBER.sub("0", text)


def telling(entries: Sequence[tuple[float, str]], ended: float, count: int) -> list[list[Any]]:
    """The lines of a part that say why it ended, as [time, text], in their order; entries are (time, text) of its log.

    Where no line says why, its last words, if there are any; where the last line of all is a gate's that waits, that.
    """
    if entries and WAITS.search(bare(entries[-1][1])[1]):
        return [[entries[-1][0], _short(bare(entries[-1][1])[1])]]
    firsts: dict[str, tuple[int, float, str]] = {}
    for moment, text in entries:
        level, said = bare(text)
        worth = 0 if WAITS.search(said) else weight(level, said)
        if worth and ended - moment <= (OUTLIVED_SECONDS if worth > 1 else LAST_WORDS_SECONDS):
            firsts.setdefault(shape(said), (worth, moment, said))
    strong = [line for line in firsts.values() if line[0] == 2]
    news = [line for line in strong if not NO_NEWS.search(line[2])] or strong or list(firsts.values())[-1:]
    return [[moment, _short(text)] for _, moment, text in news[:count]]


def _short(text: str) -> str:
    return IDENTITY.sub(lambda found: f"{found[0][:8]}…", text)[:LONGEST]

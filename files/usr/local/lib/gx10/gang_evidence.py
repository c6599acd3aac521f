"""What this host can say about a life that ended: how its parts ended, memory, kernel lines, last lines of each log."""

from __future__ import annotations

import pathlib
import re
import subprocess
import time

OUT_OF_MEMORY = re.compile(
    r"out of memory: killed process|oom-kill:|oom_reaper|NV_ERR_NO_MEMORY|CUDA out of memory|OutOfMemoryError"
    r"|CUDA_ERROR_OUT_OF_MEMORY",
    re.IGNORECASE,
)
KERNEL = re.compile(r"out of memory|oom|NVRM|NV_ERR|Xid|I/O error|segfault|link is down|hung task", re.IGNORECASE)
LINES = 12


def output(*words):
    try:
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=15, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines()


def journal(*words, since, lines):
    stamp = f"@{since:.0f}"
    options = ["--since", stamp, "--no-pager", "--output", "short-iso-precise", "--quiet", "--lines", str(lines)]
    return output("journalctl", *options, *words)


def collect(config, since):
    """Evidence of this host about a life that began at `since`."""
    since = since or time.time() - 600
    units = {"ray": config["ray_unit"], **({"engine": config["engine_unit"]} if config["engine_unit"] else {})}
    kernel = [line for line in journal("--dmesg", since=since, lines=400) if KERNEL.search(line)]
    logs = {part: journal("--unit", unit, since=since, lines=400) for part, unit in units.items()}
    memory = [line for text in logs.values() for line in text if OUT_OF_MEMORY.search(line)]
    memory += [line for line in kernel if OUT_OF_MEMORY.search(line)]
    available = next(
        (line for line in pathlib.Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable")), ""
    )
    return {
        "kernel": kernel[-LINES:],
        "out_of_memory": memory[-LINES:],
        "logs": {part: [line for line in text if line.strip()][-LINES:] for part, text in logs.items()},
        "memory": available,
    }

"""What the kernel says of this host's memory."""

from __future__ import annotations

import pathlib


def total_gib() -> float:
    """All that the kernel has, without what firmware and driver keep for themselves."""
    return _figure_gib("MemTotal")


def available_gib() -> float:
    """What a new process could take without swapping: the page cache counts, as it gives way."""
    return _figure_gib("MemAvailable")


def _figure_gib(name: str) -> float:
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 2**20
    raise SystemExit(f"/proc/meminfo has no {name}; this kernel is too old for what is asked of it.")

"""Keys that a description had once: what each became, so that an older file is refused with what to write instead."""

from __future__ import annotations

REPLACED: dict[str, str] = {
    "host.start_memory_gib": (
        "Write host.needed_to_start_gib, or leave it out: then it follows from the engine's budget and its margin."
    ),
    "container.shm_gib": (
        "Remove it: containers share /dev/shm with their host, whose size it never set. container.memory_cap_gib "
        "bounds a container."
    ),
    "gx10.limits.memory_gib": (
        "Write gx10.limits.budget_gib with the largest budget that was validated, not the one that failed."
    ),
    "gx10.limits.memory_margin_gib": "Write gx10.limits.budget_margin_gib, or leave it out: it is 0.5 GiB by default.",
    "gx10.limits.memory_floor_gib": "Write gx10.limits.budget_floor_gib.",
}
"""What to do instead, by the dotted key of the cluster file or the recipe."""

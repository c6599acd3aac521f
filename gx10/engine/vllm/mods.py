"""Mods: patches baked into the image, and the flags each of them teaches vLLM."""

from __future__ import annotations

from pathlib import Path

from .catalogue import Flag

MODS = "files/image/mods"
"""Where the mods of a project lie."""

#: What each mod adds to `vllm serve`. A mod that adds no flag stands here as well, so that a misspelt one is noticed.
MOD_FLAGS: dict[str, tuple[Flag, ...]] = {
    # The memory budget in GiB: a fraction of the GPU's memory overshoots where CPU and GPU share it.
    "gpu-mem-util-gb": (
        Flag("gpu_memory_utilization_gb", ("--gpu-memory-utilization-gb",), "value", "float", optional=True),
    ),
    # Registers the Nemotron-H architecture and the nemotron_v3 parser; vLLM has both since 0.22.0.
    "nemotron-ultra": (),
}


def known_mods(project: Path) -> set[str]:
    """Every mod there is: those of this package, and what the project has as a directory beside them."""
    directories = (project / MODS).iterdir() if (project / MODS).is_dir() else ()
    return {*MOD_FLAGS, *(path.name for path in directories if path.is_dir())}


def mod_name(written: str) -> str:
    """The name of a mod as recipes write it: with or without a leading `mods/`."""
    return written.removeprefix("mods/").rstrip("/")


def added_flags(mods: tuple[str, ...]) -> tuple[Flag, ...]:
    """The flags that these mods add; mods that are not known add none."""
    return tuple(flag for mod in mods for flag in MOD_FLAGS.get(mod_name(mod), ()))


def mod_that_adds(spelling: str) -> str | None:
    """The mod that adds a flag, by the flag's spelling with dashes; none where no mod does."""
    return next((mod for mod, flags in MOD_FLAGS.items() for flag in flags if spelling in flag.spellings), None)

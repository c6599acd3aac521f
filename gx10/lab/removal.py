"""Removes the lab's files, and nothing that is reached through a mount."""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path

from . import kept_archive
from .errors import LabError
from .mounts import mounted, mounts_under
from .names import LabNames
from .shell import must, succeeds

_NSPAWN_RUN = Path("/run/systemd/nspawn")
_REMOVED = "removed-"


def remove_tree(directory: Path) -> None:
    """Remove a directory. Mounts below are unmounted first; LabError, with nothing removed, if one stays."""
    for point in mounts_under(directory, mounted()):
        # Lazily only when somebody still uses it: what counts is that deleting does not reach through it.
        if not succeeds(["umount", str(point)]):
            must(["umount", "--lazy", str(point)], f"unmount {point}")
    if left := mounts_under(directory, mounted()):
        raise LabError(f"{left[0]} is still mounted: unmount it and run the command again. Nothing was removed.")
    must(["rm", "-rf", "--one-file-system", str(directory)], f"remove {directory}")


def remove_state(names: LabNames) -> None:
    """Remove all files of the lab."""
    for disk in sorted(names.hosts.glob("*")):
        kept_archive.keep(disk / "upper")
    if names.hosts.is_dir():
        # A disk of which half is gone must never boot again: disks lose their place before they lose their files.
        names.hosts.rename(names.state / f"{_REMOVED}{secrets.token_hex(4)}")
    remove_tree(names.state)


def remove_run_directory() -> None:
    """Remove the directory that nspawn's own mount stood on, unless somebody else's nspawn uses it."""
    with suppress(OSError):
        _NSPAWN_RUN.rmdir()


def remove_leftovers(names: LabNames) -> None:
    """Finish what a `down` that was killed left behind."""
    for leftover in names.state.glob(f"{_REMOVED}*"):
        remove_tree(leftover)

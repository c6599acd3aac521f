"""A host's control group: what holds all its processes, and ends all of them at once."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from .errors import LabError

_ROOTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))


def unified_root() -> Path | None:
    """Where the unified hierarchy is mounted, alone or beside version 1; None when it is not."""
    return next((root for root in _ROOTS if (root / "cgroup.controllers").is_file()), None)


class ControlGroup:
    """One host's group, with `launcher` (what starts nspawn and tidies up after it) and `host` (nspawn, the host).

    A group of its own under the root: hosts in one group would share `system.slice`, and a host in its caller's
    group would end with the caller's session.
    """

    def __init__(self, name: str) -> None:
        root = unified_root()
        if root is None:
            raise LabError("No unified control group hierarchy is mounted under /sys/fs/cgroup.")
        self.path = root / name
        self.launcher = self.path / "launcher"
        self.host = self.path / "host"

    @classmethod
    def all_of(cls, lab: str) -> list[ControlGroup]:
        """Every group that belongs to the lab, whoever left it."""
        return [cls(name) for name in sorted({path.name for root in _hierarchies() for path in root.glob(f"{lab}-*")})]

    def create(self) -> None:
        """Make the group, and hand the controllers that the machine has given out on to the host."""
        for path in (self.path, self.launcher, self.host):
            path.mkdir(exist_ok=True)
        controllers = (self.path / "cgroup.controllers").read_text().split()
        if controllers:
            (self.path / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))

    @property
    def host_lives(self) -> bool:
        """Whether any process of the host, or the nspawn that carries it, is alive."""
        return _populated(self.host)

    @property
    def lives(self) -> bool:
        """Whether anything is alive in the group: the host, or what is about to start it or tidies up after it."""
        return _populated(self.path)

    def processes(self) -> Iterator[int]:
        """Process ids of the host and of what carries it."""
        # Not Path.glob: it fails on a group that vanishes meanwhile, where os.walk goes on.
        for directory, _, _ in os.walk(self.path):
            try:
                yield from (int(line) for line in Path(directory, "cgroup.procs").read_text().split())
            except OSError:  # the group vanished, or is one of a container with threads
                continue

    def kill(self, timeout_seconds: float = 20) -> None:
        """End every process with SIGKILL, as a power cut does, and remove the group; returns when all are gone."""
        if self.path.is_dir():
            (self.path / "cgroup.kill").write_text("1")
        deadline = time.monotonic() + timeout_seconds
        while self.lives:
            if time.monotonic() > deadline:
                alive = ", ".join(str(process) for process in self.processes())
                raise LabError(
                    f"Processes {alive} of {self.path.name} are still there {timeout_seconds:.0f} s after SIGKILL: "
                    "they hang in the kernel, most often on a disk. Look at `dmesg`, then run the command again."
                )
            time.sleep(0.005)
        # On a hybrid machine nspawn made groups of the same name in the hierarchies of version 1 as well.
        for root in _hierarchies():
            for path in sorted((root / self.path.name).glob("**/"), key=lambda path: len(path.parts), reverse=True):
                path.rmdir()


def _hierarchies() -> list[Path]:
    """Every mounted control group hierarchy: one, or on a hybrid machine one per controller beside the unified one."""
    top = _ROOTS[0]
    found = [top] if (top / "cgroup.procs").is_file() else list(top.iterdir())
    return [root for root in found if (root / "cgroup.procs").is_file() and not root.is_symlink()]


def _populated(path: Path) -> bool:
    try:
        return "populated 1" in (path / "cgroup.events").read_text()
    except OSError:
        return False

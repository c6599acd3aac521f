"""What `make demo` costs from a fresh clone: wall time with empty and with warm caches, peak memory and peak disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from gx10.settings import PROJECT

COLD_SECONDS, WARM_SECONDS = 15 * 60, 4 * 60
MEMORY_GB, DISK_GB = 14.0, 45.0


@dataclass(frozen=True)
class Cost:
    """One `make demo`."""

    seconds: float
    memory_gb: float
    """How far the machine's available memory fell, in 10^9 bytes."""
    disk_gb: float
    """How far the file system filled, in 10^9 bytes."""


class Watch(threading.Thread):
    """Samples available memory and free disk until it is stopped."""

    def __init__(self, directory: Path) -> None:
        super().__init__(daemon=True)
        self.directory, self.over = directory, threading.Event()
        self.start_memory, self.start_disk = self.sample()
        self.memory = self.disk = 0.0

    def sample(self) -> tuple[float, float]:
        """Available memory and free disk now, in bytes."""
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024, float(shutil.disk_usage(self.directory).free)
        raise RuntimeError("/proc/meminfo has no MemAvailable")

    def run(self) -> None:
        """Keep the largest differences."""
        while not self.over.wait(0.5):
            memory, disk = self.sample()
            self.memory = max(self.memory, self.start_memory - memory)
            self.disk = max(self.disk, self.start_disk - disk)


def demo(clone: Path, cache: Path, disk_before: float | None = None) -> Cost:
    """Run `make demo` in a clone with a cache of its own; raises CalledProcessError when it fails."""
    watch = Watch(clone)
    if disk_before is not None:
        watch.start_disk = disk_before
    watch.start()
    started = time.monotonic()
    try:
        subprocess.run(["make", "demo"], cwd=clone, env={**os.environ, "GX10_CACHE": str(cache)}, check=True)
    finally:
        watch.over.set()
        watch.join()
    return Cost(time.monotonic() - started, watch.memory / 1e9, watch.disk / 1e9)


def main() -> None:
    """Measure a cold and a warm demo; exits with 1 when a bound is broken."""
    # Beside the checkout and not in /tmp, which may be a tmpfs that cannot carry hosts.
    place = Path(tempfile.mkdtemp(prefix="gx10-demo-", dir=PROJECT.parent))
    clone, cache = place / "clone", place / "cache"
    free = float(shutil.disk_usage(place).free)
    down = [str(clone / ".venv/bin/gx10"), "lab", "down"]
    environment = {**os.environ, "GX10_CACHE": str(cache)}
    try:
        subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(clone)], check=True)
        cold = demo(clone, cache, free)
        subprocess.run(down, cwd=clone, env=environment, check=True)
        warm = demo(clone, cache, free)
    finally:
        if Path(down[0]).exists():
            subprocess.run(down, cwd=clone, env=environment, check=False)
        shutil.rmtree(place)
    memory, disk = max(cold.memory_gb, warm.memory_gb), max(cold.disk_gb, warm.disk_gb)
    sys.stdout.write(
        f"make demo, empty caches  {cold.seconds:.0f} s (bound {COLD_SECONDS} s)\n"
        f"make demo, warm caches   {warm.seconds:.0f} s (bound {WARM_SECONDS} s)\n"
        f"peak memory              {memory:.1f} GB (bound {MEMORY_GB:g} GB)\n"
        f"peak disk, all of it     {disk:.1f} GB (bound {DISK_GB:g} GB)\n"
    )
    broken = cold.seconds > COLD_SECONDS or warm.seconds > WARM_SECONDS or memory > MEMORY_GB or disk > DISK_GB
    sys.exit(int(broken))


if __name__ == "__main__":
    main()

"""A retirement leaves a host's files as they were before the first deploy, in whatever roles it has been."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gx10.lab import rootfs
from gx10.lab.progress import Progress

from .deployment import PROJECT

pytestmark = pytest.mark.lab
ALLOWED = {
    # What useradd and userdel keep of the version before.
    "/etc/group-", "/etc/gshadow-", "/etc/passwd-", "/etc/shadow-", "/etc/.pwd.lock", "/etc/subgid-", "/etc/subuid-",
    # Of programs that others have as well: node_exporter's directory, systemd's for timers, and /run.
    "/var/lib/prometheus", "/var/lib/prometheus/node-exporter", "/var/lib/systemd/timers", "/run/systemd",
    "/run/systemd/system",
}  # fmt: skip


def test_all_that_any_role_put_on_a_host_goes_and_everything_else_is_as_it_was(tmp_path: Path) -> None:
    pristine = rootfs.path_of(rootfs.ensure(Progress()))
    words = ["unshare", "--mount", sys.executable, "-m", "tests.lab.pristine", str(pristine), str(tmp_path / "host")]
    done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["written"] > 200
    assert told["left"] == []
    assert set(told["differs"]) <= ALLOWED

"""A controller killed in the middle of a deploy loses nothing: the next run ends where an undisturbed one does."""

from __future__ import annotations

import os
import random
import signal
import subprocess

import pytest

from gx10.lab.lab import Lab

from .deployment import HOSTS, PROJECT, command, deploy
from .fingerprint import fingerprint

pytestmark = pytest.mark.lab

KILLS = int(os.environ.get("GX10_KILLS", "2"))
SEED = int(os.environ.get("GX10_SEED", "0")) or random.randrange(1, 1_000_000)  # noqa: S311 - not for secrets


def test_a_deploy_killed_at_random_moments_ends_like_an_undisturbed_one(served: Lab) -> None:
    undisturbed = {name: fingerprint(served, name) for name in HOSTS}
    chance = random.Random(SEED)  # noqa: S311
    undo(served)
    for kill in range(KILLS):
        after = chance.uniform(1.5, 20)
        process = subprocess.Popen(
            [command("pyinfra"), "inventory.py", "deploy.py", "-y"],
            cwd=PROJECT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(timeout=after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        print(f"kill {kill + 1} after {after:.1f} s (seed {SEED})")
    run = deploy("-y")
    assert run.status == 0, f"seed {SEED}: {run.errors}"
    assert {name: fingerprint(served, name) for name in HOSTS} == undisturbed, f"seed {SEED}"
    assert deploy("--dry").predicted == set()


def undo(lab: Lab) -> None:
    """Take the hosts back to before the gang was described, with the image and its archive kept on the head."""
    for name in HOSTS:
        unit = "ray-head.service" if name == "gx10-1" else "ray-worker.service"
        lab.run(name, "systemctl", "disable", "--now", *(["vllm-engine.service"] if name == "gx10-1" else []), unit)
        lab.run(name, "sh", "-c", "rm -rf /etc/gx10 /etc/sysctl.d/90-gx10.conf /srv/models/* /srv/models/.gx10* "
                "/etc/systemd/system/ray-* /etc/systemd/system/vllm-* /usr/local/lib/gx10")  # fmt: skip

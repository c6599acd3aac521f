"""Ten kills of the controller at random moments of a first deploy, image build and transfers included.

Minutes long, so it has a make target of its own: `make soak-kill`. The lab's hosts are made afresh for it.
"""

from __future__ import annotations

import os
import random
import time

import pytest

from gx10.lab.lab import Lab

from ..lab.deployment import HOSTS, PROJECT, deploy, forget_archives, gx10, killed_after
from ..lab.fingerprint import fingerprint

pytestmark = pytest.mark.lab

KILLS = int(os.environ.get("GX10_KILLS", "10"))
SEED = int(os.environ.get("GX10_SEED", "0")) or random.randrange(1, 1_000_000)  # noqa: S311 - not for secrets


def fresh() -> Lab:
    """Hosts that nobody has deployed to, and no archive to restore an image from."""
    lab = Lab.for_checkout(PROJECT)
    lab.down()
    lab.up()
    forget_archives(lab)
    return lab


def state(lab: Lab) -> dict[str, dict[str, object]]:
    """The state of all hosts; layers of two builds differ by their times, so they only must be equal on all hosts."""
    told = {name: fingerprint(lab, name) for name in HOSTS}
    layers = [value for host in told.values() for key, value in host.items() if key.startswith("image vllm-node")]
    assert len(layers) == len(HOSTS)
    assert all(value == layers[0] for value in layers)
    for host in told.values():
        files = host["archive"]
        assert isinstance(files, list)
        host["archive"] = len(files)
        for key in [key for key in host if key.startswith("image vllm-node")]:
            del host[key]
    return told


def test_a_first_deploy_killed_ten_times_ends_like_an_undisturbed_one() -> None:
    lab = fresh()
    started = time.monotonic()
    run = deploy("-y")
    assert run.status == 0, run.errors
    length = time.monotonic() - started
    undisturbed = state(lab)

    lab = fresh()
    chance = random.Random(SEED)  # noqa: S311
    for kill in range(KILLS):
        after = chance.uniform(1.5, length / 4)
        ended = killed_after(after)
        print(
            f"kill {kill + 1} after {after:.1f} s of {length:.0f} s (seed {SEED}){', which had ended' if ended else ''}"
        )
    run = deploy("-y")
    assert run.status == 0, f"seed {SEED}: {run.errors}"
    assert state(lab) == undisturbed, f"seed {SEED}"
    assert deploy("--dry").predicted == set()
    assert gx10("verify", "-q").returncode == 0

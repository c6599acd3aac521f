"""A controller killed in the middle of a deploy loses nothing: the next run ends where an undisturbed one does."""

from __future__ import annotations

import os
import random

import pytest

from gx10.lab.lab import Lab

from .deployment import HOSTS, deploy, killed_after
from .fingerprint import fingerprint

pytestmark = pytest.mark.lab

KILLS = 2
SEED = int(os.environ.get("GX10_SEED", "0")) or random.randrange(1, 1_000_000)  # noqa: S311 - not for secrets


def test_a_deploy_killed_at_random_moments_ends_like_an_undisturbed_one(served: Lab) -> None:
    undisturbed = {name: fingerprint(served, name) for name in HOSTS}
    chance = random.Random(SEED)  # noqa: S311
    undo(served)
    for _ in range(KILLS):
        killed_after(chance.uniform(1.5, 12))
    run = deploy("-y")
    assert run.status == 0, f"seed {SEED}: {run.errors}"
    assert {name: fingerprint(served, name) for name in HOSTS} == undisturbed, f"seed {SEED}"
    assert deploy("--dry").predicted == set()


def undo(lab: Lab) -> None:
    """Take the hosts back to before weights, share, firewall and reconciler; the gang serves on from what it has read.

    `make soak-kill` begins with fresh hosts.
    """
    for name in HOSTS:
        lab.run(name, "systemctl", "disable", "--now", "--quiet", "gx10-share.service", "gx10-firewall.service")
        lab.run(name, "sh", "-c", "rm -rf /etc/gx10/share.conf /etc/gx10/firewall.nft /etc/sysctl.d/90-gx10.conf "
                "/srv/models/* /etc/systemd/system/gx10-share.service /etc/systemd/system/gx10-firewall.service "
                "/opt/gx10/project /etc/systemd/system/gx10-reconcile.timer; "
                "sed -i '/gx10: begin/,/gx10: end/d' /etc/hosts")  # fmt: skip

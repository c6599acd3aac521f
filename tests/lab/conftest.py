"""The checkout's own lab, deployed to once; tests leave it serving."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from gx10.lab.lab import Lab

from .deployment import PROJECT, Run, deploy, forget_archives, gx10, serving_lab


@dataclass(frozen=True)
class FirstDeploy:
    """What a dry run said before the first deploy to fresh hosts, and what the deploy then did."""

    dry: Run
    run: Run


@pytest.fixture(scope="session")
def served() -> Lab:
    """The lab, serving."""
    return serving_lab()


@pytest.fixture(scope="session")
def first_deploy() -> FirstDeploy:
    """Fresh hosts without an archive, a dry run, and the deploy, which therefore builds."""
    lab = Lab.for_checkout(PROJECT)
    lab.down()
    up = gx10("lab", "up", seconds=1200)
    assert up.returncode == 0, up.stderr
    forget_archives(lab)
    dry = deploy("--dry")
    assert dry.status == 0, dry.errors
    run = deploy("-y")
    assert run.status == 0, run.errors
    return FirstDeploy(dry, run)

"""The checkout's lab, serving; it is left as it was found. A seed makes a failed run repeatable."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from gx10.lab.lab import Lab

from ..lab.deployment import serving_lab

SEED = int(os.environ.get("GX10_SEED", "0")) or random.randrange(1, 1_000_000)  # noqa: S311 - not for secrets


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The lab, brought to what is described."""
    return serving_lab()


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs of this session are kept."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="session")
def chance() -> random.Random:
    """Chooses hosts."""
    print(f"GX10_SEED={SEED}")
    return random.Random(SEED)  # noqa: S311 - not for secrets

"""The checkout's lab, deployed to, with an owner's hook on its head; it is left as it was found."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gx10.lab.lab import Lab

from ..lab.deployment import serving_lab
from .installed import HOOK, described, ended, install_hook


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The lab, serving, whose nights tell a hook and wait for nobody."""
    lab = serving_lab()
    install_hook(lab)
    with described(hook=[HOOK], lock_wait_seconds=0):
        yield lab
        ended(lab)

"""The wheels of the reconciler's environment, for the Python of the lab's hosts."""

from __future__ import annotations

from pathlib import Path

from gx10.lab.cache import import_directory
from gx10.lab.errors import LabError
from gx10.lab.progress import Progress
from gx10.reconcile.wheels import LOCK, collect

from .digests import Seal, inputs_digest

PYTHON = "3.13"
"""Python of Debian trixie."""


def ensure(progress: Progress) -> Path:
    """Have the wheels and return their directory; the head sees it as /srv/import/reconcile."""
    final = import_directory() / "reconcile"
    inputs = inputs_digest([1, PYTHON, LOCK.read_text(encoding="utf-8")])
    seal = Seal(import_directory() / ".reconcile.seal")
    if seal.holds(inputs, final):
        return final
    with progress.step("reconciler", "wheels of its environment from the package index (once, about 25 MB)"):
        try:
            collect(final, PYTHON, "x86_64")
        except RuntimeError as error:
            raise LabError(
                f"{error} Check that this machine reaches its package index and run `gx10 lab up` again."
            ) from None
        seal.write(inputs, final)
    return final

"""Weights: staged once on the head, then the same on every host, each file proven against the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import QuoteString

from gx10.facts import StoredContent

from .asking import ask
from .commands import Commands, Narrated, elsewhere, refuse
from .image import CONTENT_PROGRAM

MANIFEST = ".gx10-manifest.json"


def stored_model(directory: str, on: str | None = None) -> dict[str, Any] | None:
    """What a host knows of a model directory: its manifest's digest and the files that are not proven."""
    told: dict[str, Any] | None = ask(StoredContent, on, model=directory)["model"]
    return told


@operation()
def weights_staged(directory: str, title: str, source: str | None, head: str) -> Commands:
    """Have the weights on the head with a manifest: proven as they are, or brought from their source.

    Without a source the weights must be in place already, and get their manifest there.
    """
    if elsewhere([head]):
        return
    stored = stored_model(directory)
    if stored and not stored["unproven"]:
        host.noop(f"{title} is in place: {stored['files']} files")
        return
    words = [CONTENT_PROGRAM, "stage", "--source", source or directory, "--to", directory, "--name", title]
    yield Narrated(*(QuoteString(word) for word in words))


@operation()
def weights_received(
    *, directory: str, title: str, root: str, head: str, workers: Sequence[str], share: str
) -> Commands:
    """Have the head's weights, each absent or unproven file fetched over the fabric.

    `root` is the model root that the head's `share` shows under `models`.
    """
    if elsewhere(workers):
        return
    ours, theirs = stored_model(directory), stored_model(directory, on=head)
    if ours and theirs and ours["digest"] == theirs["digest"] and not ours["unproven"]:
        host.noop(f"{title} is in place: {ours['files']} files")
        return
    if theirs is None and host.state.is_executing:
        yield from refuse(f"{head} has no manifest of {title} to send. Look at what its own operations reported.")
        return
    below = directory.removeprefix(root).strip("/")
    words = [CONTENT_PROGRAM, "fetch", "--url", f"{share}/models/{below}", "--manifest", MANIFEST, "--to", directory]
    yield Narrated(*(QuoteString(word) for word in words))

"""Whether the weights of a description are right on every host."""

from __future__ import annotations

import click
from gx10_host import ENTRY
from gx10_host.content.manifest import MANIFEST
from gx10_host.exits import DAMAGED

from gx10.access.remote import run_all
from gx10.described.description import Description
from gx10.drift.verdict import DRIFT, ERROR, IN_SYNC

CONTENT = (ENTRY, "content")
VERIFY_SECONDS = 12 * 3600
"""Longest check of one host: 700 GiB at 17 MB/s."""


def verified(
    description: Description, *, full: bool = False, sample: str | None = None, nights: int | None = None
) -> int:
    """Check the weights of a description on every host, and say of each how they are."""
    root = description.model_directory
    words = [*CONTENT, "verify", "--manifest", f"{root}/{MANIFEST}", "--in", root]
    words += ["--full"] if full else []
    words += ["--sample", sample] if sample else []
    words += ["--nights", str(nights)] if nights else []
    answers = run_all(description, lambda _: words, description.cluster.hosts, VERIFY_SECONDS)
    for host, answer in answers.items():
        last = answer.value.strip().splitlines()[-1:] if answer.ok else [answer.reason]
        click.echo(f"{host}: {last[0] if last else 'every file is proven'}", err=not answer.ok)
    damaged = [answer for answer in answers.values() if answer.status == DAMAGED]
    if any(not answer.ok and answer not in damaged for answer in answers.values()):
        return ERROR
    return DRIFT if damaged else IN_SYNC

"""Whether this is where the owner deploys from, or the copy of the project that deploys write."""

from __future__ import annotations

import sys

import click

from gx10.drift.verdict import USAGE
from gx10.settings import PROJECT
from gx10.settings.load import MARK


def is_copy() -> bool:
    """Whether this is the reconciler's copy of the project, in which nothing is written."""
    return (PROJECT / MARK).is_file()


def refuse_in_copy(verb: str) -> None:
    """End with 64 where this is the reconciler's copy of the project, in which nothing is written."""
    if is_copy():
        click.echo(
            f"{PROJECT} is the reconciler's copy, which deploys write. Run `gx10 {verb}` where you deploy from.",
            err=True,
        )
        sys.exit(USAGE)

"""`gx10 unlock`: the cluster's lock is taken from whoever holds it."""

from __future__ import annotations

import sys

import click

from gx10.access.lock import LockUnknownError, broken
from gx10.drift.verdict import ERROR

from .described import described


@click.command()
def unlock() -> None:
    """Take the cluster's lock from whoever holds it, and do nothing else.

    Only when you are sure that the holder does nothing any more: two runs at once undo each other's work.
    """
    description = described()
    try:
        was = broken(description)
    except LockUnknownError as error:
        click.echo(str(error), err=True)
        sys.exit(ERROR)
    click.echo(f"Took the lock from {was}." if was else f"Nobody holds the lock on {description.cluster.head}.")

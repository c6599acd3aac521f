"""`gx10 resume`: a suspension ends."""

from __future__ import annotations

import sys

import click

from gx10.access import suspension
from gx10.drift.verdict import ERROR

from .described import described


@click.command()
def resume() -> None:
    """End a suspension."""
    answer = suspension.resume(described())
    if not answer.ok:
        click.echo(f"{answer.host}: {answer.reason}", err=True)
        sys.exit(ERROR)
    click.echo("Runs change things again.")

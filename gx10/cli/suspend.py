"""`gx10 suspend`: no run changes anything until a moment."""

from __future__ import annotations

import sys
from datetime import datetime

import click

from gx10.access import suspension
from gx10.access.lock import operator
from gx10.drift.verdict import ERROR, USAGE

from .described import described

LEAST_REASON = 4
"""Fewest characters of a reason to suspend."""


@click.command()
@click.argument("reason")
@click.option("--until", "end", default="12h", show_default=True, help="12h, 3d, 2w, or a date and time.")
def suspend(reason: str, end: str) -> None:
    """Let no run change anything until a moment.

    REASON is what everybody will read: at least four characters, such as "new switch".
    """
    description = described()
    now = datetime.now(description.cluster.reconcile.zone)
    try:
        until = suspension.until(end, now)
    except ValueError as error:
        click.echo(str(error), err=True)
        sys.exit(USAGE)
    if len(reason.strip()) < LEAST_REASON:
        click.echo(
            f"The reason {reason!r} has fewer than {LEAST_REASON} characters. Say why, so that whoever finds it knows "
            'what to ask: gx10 suspend "new switch" --until 3d',
            err=True,
        )
        sys.exit(USAGE)
    answer = suspension.suspend(description, suspension.Suspension(reason, until, operator()))
    if not answer.ok:
        click.echo(f"{answer.host}: {answer.reason}", err=True)
        sys.exit(ERROR)
    click.echo(f"Suspended until {until:%Y-%m-%d %H:%M %Z}. `gx10 resume` ends it earlier.")

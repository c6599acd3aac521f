"""`gx10 plan`: what differs from the description, and what a run would do about it."""

from __future__ import annotations

import click

from gx10.access.lock import LockUnknownError, shown
from gx10.reconcile.progress import shown_on_terminal
from gx10.weights import switch

from .described import described
from .reported import STEPS, finish, locked_out, night_of, reported, unknown


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def plan(as_json: bool) -> None:
    """Show what differs from the description, and what a run would do about it; change nothing.

    Exit status: 0 in sync, 2 drift, 1 error or unknown, 75 another run holds the lock.
    """
    description = described()
    loaded = description.loaded
    if left := switch.left_half_way(description.cluster.name, loaded.cluster_file, description.cluster.recipe):
        click.echo(left, err=True)
    with reported(description, "plan") as (report, directory):
        try:
            if holder := shown(description):
                locked_out(report, f"{description.cluster.head} is locked by {holder}")
            else:
                with shown_on_terminal(report, directory, STEPS):
                    night_of(description, report, directory, descriptors=()).run()
        except LockUnknownError as error:
            unknown(description, report, error)
    finish(description, report, as_json=as_json)

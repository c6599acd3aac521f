"""`gx10 diff`: two runs of this node beside each other."""

from __future__ import annotations

import click

from gx10.control_node import state_directory
from gx10.reconcile.history import History, compared

from .described import described
from .history import named


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("before")
@click.argument("after")
def diff(before: str, after: str) -> None:
    """Compare two runs of this node by name; -1 is the latest, -2 the one before it."""
    kept = History(state_directory(described().cluster.name))
    for line in compared(named(kept, before), named(kept, after)) or ["Nothing differs between these two."]:
        click.echo(line)

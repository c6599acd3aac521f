"""`gx10 start`: the gang starts, also after its budget was spent."""

from __future__ import annotations

import click

from .supervisor import control


@click.command()
@click.option("--full", is_flag=True, help="Take back what fallbacks gave up.")
def start(full: bool) -> None:
    """Start the gang, also after its budget was spent, and wait until it serves.

    Exit status of start, stop and restart: 0 done, 2 it came out otherwise, 3 not within an hour, 1 the head cannot be
    reached, 130 interrupted. What was asked for goes on in the last three.
    """
    control("start", *(["--full"] if full else []))

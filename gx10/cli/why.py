"""`gx10 why`: why the cluster does not serve, or what happened last, with evidence."""

from __future__ import annotations

import sys

import click
from gx10_host import ENTRY
from gx10_host.exits import NOT_FOUND

from gx10.access import remote
from gx10.drift.verdict import ERROR

from .described import described
from .supervisor import unreachable

EXPLAIN = (ENTRY, "why")


@click.command()
@click.option("--full", is_flag=True, help="Every line that was kept of the last life that ended, of every part.")
def why(full: bool) -> None:
    """Say on one screen why the cluster does not serve, or what happened last, with evidence.

    Exit status: 0 it serves, 2 it does not, 1 the head or its supervisor does not answer.
    """
    description = described()
    head = description.cluster.head
    answer = remote.run(description, head, [*EXPLAIN, *(["--full"] if full else [])])
    click.echo(answer.output, nl=False)
    if answer.status is None:
        unreachable(head, answer.reason)
    elif answer.status == NOT_FOUND:
        click.echo(f"{head}: {answer.reason}", err=True)
        sys.exit(ERROR)
    sys.exit(answer.status)

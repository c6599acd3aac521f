"""`gx10 status`: each host by what matters, and the gang."""

from __future__ import annotations

import json
import sys

import click
from rich.console import Console

from gx10.day_two import status as asked
from gx10.drift.verdict import ERROR, IN_SYNC

from .described import described


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print what each host answered as JSON.")
def status(as_json: bool) -> None:
    """Show each host: reachable, image, weights, Ray, engine."""
    description = described()
    answers = asked.ask_status(description)
    if as_json:
        click.echo(json.dumps({name: answer.value or {"reason": answer.reason} for name, answer in answers.items()}))
    else:
        # Where the output is no terminal, rich would squeeze the table into 80 columns, and break what its cells say: a
        # reason is a sentence, which somebody may look for. The table is no wider than its cells.
        console = Console() if sys.stdout.isatty() else Console(width=1000)
        console.print(asked.status_table(description, answers))
        console.print(asked.gang_line(description, answers))
    sys.exit(IN_SYNC if asked.serving(description, answers) else ERROR)

"""`gx10 history`: the runs of this user on this node."""

from __future__ import annotations

import getpass
import socket
import sys

import click

from gx10.control_node import state_directory
from gx10.described import watch_files
from gx10.described.description import Description
from gx10.drift.verdict import ERROR, USAGE
from gx10.reconcile.history import History
from gx10.reconcile.publish import tell_what_was_not_told
from gx10.reconcile.report import Report
from gx10.reconcile.words import in_words

from .described import described


@click.command()
@click.option("--count", default=20, show_default=True, help="How many runs.")
@click.option("--show", metavar="RUN", help="Show one run: its name, the beginning of it, or -1 for the latest.")
@click.option("--json", "as_json", is_flag=True, help="Print reports as JSON.")
@click.option("--tell", is_flag=True, help="Write metrics and page anew, and tell the hook what it was not told.")
def history(count: int, show: str | None, as_json: bool, tell: bool) -> None:
    """List the runs of this user on this node, the latest first.

    The nightly runs are the reconciler's, on its own node: `runuser -u gx10-reconcile -- /opt/gx10/bin/gx10 history`.
    """
    description = described()
    kept = History(state_directory(description.cluster.name))
    if tell:
        if not tell_what_was_not_told(description, kept, lambda sentence: click.echo(sentence, err=True)):
            sys.exit(ERROR)
        return
    reports = [named(kept, show)] if show else list(kept.reports(count))
    if as_json:
        click.echo("[" + ",\n".join(report.model_dump_json() for report in reports) + "]")
    elif show:
        click.echo(in_words(reports[0]))
    else:
        click.echo(_whose(description, kept), err=True)
        for report in reports:
            left = f", {len(report.left)} left" if report.left else ""
            click.echo(f"{report.run}  {report.mode:9}  {report.status:10}  {len(report.operations)} found{left}")


def _whose(description: Description, kept: History) -> str:
    """Whose runs are listed, and where the others are."""
    own = f"Runs of {getpass.getuser()} on {socket.gethostname()}, kept in {kept.root}."
    if not description.cluster.reconcile.enabled or getpass.getuser() == watch_files.USER:
        return own
    node = watch_files.node(description)
    there = f"runuser -u {watch_files.USER} -- {watch_files.COMMAND} history"
    return f"{own} The nightly ones are on {node}: as root there, `{there}`."


def named(kept: History, name: str) -> Report:
    """A run by its name; ends with 64 where there is none of it."""
    try:
        return kept.report(name)
    except (LookupError, OSError, ValueError) as error:
        click.echo(str(error), err=True)
        sys.exit(USAGE)

"""`gx10 serve`: another model, staged and checked beside the one that is served."""

from __future__ import annotations

import sys

import click

from gx10.described.description import STAGED, Description, described_by_environment
from gx10.drift.verdict import ERROR, IN_SYNC, USAGE
from gx10.interrupts import Interrupted
from gx10.settings import SettingsError
from gx10.weights import switch
from gx10.weights.choice import Choice

from .described import described
from .pyinfra_command import deployed
from .weights_check import verified


@click.command()
@click.argument("recipe")
def serve(recipe: str) -> None:
    """Serve another recipe: stage it beside what is served, check it, then restart the gang once.

    The recipe's name is written into the cluster file, where it is described, once everything is in place. Until then
    nothing that describes the cluster has changed, whatever ends this.
    """
    description = described()
    cluster, file = description.cluster.name, description.loaded.cluster_file
    choice = Choice(description.project / file)
    before = choice.recipe
    if left := switch.left_half_way(cluster, file, before):
        click.echo(left, err=True)
    try:
        wanted = described_by_environment(recipe)
        choice.changed(recipe)
    except (SettingsError, ValueError) as error:
        click.echo(str(error), err=True)
        sys.exit(USAGE)
    try:
        with switch.switching(cluster, before, recipe):
            status = _switched(description, wanted, choice, recipe)
    except switch.UnderWayError as error:
        click.echo(str(error), err=True)
        sys.exit(ERROR)
    sys.exit(status)


def _switched(description: Description, wanted: Description, choice: Choice, recipe: str) -> int:
    """Stage, check, describe and deploy; says what holds where one of them does not come to its end."""
    cluster, file, before = description.cluster.name, description.loaded.cluster_file, choice.recipe
    unchanged = f"{before} is served as before, and {file} still names it."
    half_way = (
        f"{file} names {recipe}, and {before} may still be served: `pyinfra inventory.py deploy.py` finishes the "
        f"switch, `gx10 serve {before}` goes back."
    )
    click.echo(f"Staging {recipe}; {before} is served meanwhile.")
    try:
        if status := deployed(description, "deploys/stage.py", {STAGED: recipe}) or verified(wanted):
            switch.done(cluster)
            click.echo(unchanged, err=True)
            return status
    except Interrupted as interrupted:
        switch.done(cluster)
        interrupted.sentence = f"{unchanged} `gx10 serve {recipe}` goes on with it."
        raise
    try:
        choice.write(choice.changed(recipe))
        click.echo(f"{file}: recipe {before} -> {recipe}")
        if status := deployed(description, "deploy.py"):
            click.echo(half_way, err=True)
            return status
    except Interrupted as interrupted:
        interrupted.sentence = half_way
        raise
    switch.done(cluster)
    return IN_SYNC

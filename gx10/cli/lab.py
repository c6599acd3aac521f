"""`gx10 lab`: the hosts on one machine. The reconciler's copy of the project holds no lab, and says so."""

from __future__ import annotations

import click

from .copied import refuse_in_copy


@click.command("lab", context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def absent(words: tuple[str, ...]) -> None:
    """Hosts of the lab: only where their owner deploys from."""
    refuse_in_copy("lab")


lab: click.Command = absent
try:
    import gx10.lab.commands as verbs

    lab = verbs.lab
except ModuleNotFoundError as missing:
    if not (missing.name or "").startswith("gx10.lab"):
        raise

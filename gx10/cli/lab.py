"""`gx10 lab`: the hosts on one machine. The reconciler's copy of the project holds no lab, and says so."""

from __future__ import annotations

from importlib.util import find_spec

import click

from .copied import refuse_in_copy


@click.command("lab", context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def absent(words: tuple[str, ...]) -> None:
    """Hosts of the lab: only where their owner deploys from."""
    refuse_in_copy("lab")


lab: click.Command = absent
if find_spec("gx10.lab"):
    from gx10.lab.commands import lab  # noqa: F401 - the verb

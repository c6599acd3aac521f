"""`gx10 restart`: running requests end, then the gang restarts."""

from __future__ import annotations

import click

from .supervisor import DRAIN, control, drain_words


@click.command()
@DRAIN
def restart(drain_timeout: float | None) -> None:
    """Let running requests end, then restart the gang and wait until it serves."""
    control("restart", *drain_words(drain_timeout))

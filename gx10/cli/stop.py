"""`gx10 stop`: running requests end, then the gang."""

from __future__ import annotations

import click

from .supervisor import DRAIN, control, drain_words


@click.command()
@DRAIN
def stop(drain_timeout: float | None) -> None:
    """Let running requests end, then stop the gang until `gx10 start`, the next deploy or the next night."""
    control("stop", *drain_words(drain_timeout))

"""The described cluster, as verbs ask for it."""

from __future__ import annotations

import sys

import click

from gx10.access import access_files
from gx10.described import description as descriptions
from gx10.described.description import Description
from gx10.drift.verdict import USAGE
from gx10.settings import SettingsError

from .last_description import keep, last

LOCAL = frozenset({"diff", "history"})
"""Commands that ask no host."""
READS = frozenset({"logs", "status", "why"})
"""Commands that show what is, and nothing of what is described."""


def described() -> Description:
    """The described cluster; every problem is printed and the command ends with 64 when it is refused.

    What only reads goes on with the description that loaded last, and says so: it is needed while an edit is broken.
    """
    try:
        description = descriptions.described_by_environment()
        keep(description)
    except SettingsError as error:
        kept = last() if _command() in READS else None
        if kept is None:
            click.echo(str(error), err=True)
            sys.exit(USAGE)
        description = kept.description
        count = len(error.problems)
        click.echo(
            f"{error}\n{'This is' if count == 1 else 'These are'} refused. What follows goes by the description"
            f" that loaded last, on {kept.when:%Y-%m-%d at %H:%M}.\n",
            err=True,
        )
    try:
        if _command() not in LOCAL:
            access_files.missing_files(description)
    except SettingsError as error:
        click.echo(str(error), err=True)
        sys.exit(USAGE)
    return description


def _command() -> str:
    """The command that is at work, without `gx10`."""
    context = click.get_current_context(silent=True)
    return context.command_path.partition(" ")[2] if context else ""

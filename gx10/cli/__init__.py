"""The `gx10` command: a table of its verbs, each in a module of its own name."""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from gx10.control_node import state_root
from gx10.drift.verdict import ERROR, USAGE
from gx10.interrupts import Interrupted, raising, tell

from .copied import refuse_in_copy
from .interrupted import sentence

VERBS = (
    "chat",
    "completion",
    "diff",
    "history",
    "images",
    "lab",
    "logs",
    "models",
    "plan",
    "reconcile",
    "restart",
    "resume",
    "retire",
    "serve",
    "start",
    "status",
    "stop",
    "suspend",
    "unlock",
    "verify",
    "why",
)
"""Each is imported when it is called: a cluster's owner does not wait for the lab's libraries."""
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})
"""Errors of a file system, a quota or a file that can take no more."""
OWNERS = ("lab", "retire", "serve")
"""Verbs that change the description, or what is no part of it: they belong where the owner deploys from."""

click.UsageError.exit_code = USAGE  # click's own is 2, which is this package's "drift"


class Verbs(click.Group):
    """The verbs there are."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all verbs."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A verb by name."""
        if cmd_name not in VERBS:
            return None
        verb: click.Command = getattr(import_module(f"{__name__}.{cmd_name}"), cmd_name)
        return verb

    def main(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - click's own
        """Run a command; an interrupt says what goes on and what to type next, and ends with the signal's status."""
        with raising():
            try:
                return super().main(*args, **options)
            except Interrupted as interrupted:
                tell(f"\n{interrupted}. {interrupted.sentence or sentence(interrupted.command)}")
                sys.exit(interrupted.status)
            except OSError as error:
                if (
                    error.filename
                    and Path(str(error.filename)).is_relative_to(state_root())
                    and error.errno not in FULL
                ):
                    place = "what this node keeps. Name a directory that you may write to in GX10_STATE"
                    tell(f"{error.filename}: found {error.strerror}, expected {place}.")
                    sys.exit(ERROR)
                if error.errno not in FULL:
                    raise
                where = error.filename or "where its output goes"
                tell(f"{where} takes nothing more: {error.strerror}. Make room there, then run the same command again.")
                # What is still waiting to be written would fail once more at the end.
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                sys.exit(ERROR)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gx10", message="%(prog)s %(version)s")
@click.pass_context
def main(context: click.Context) -> None:
    """Serve one large model from a few small machines. GX10_CLUSTER names the cluster file; the default is the lab."""
    if context.invoked_subcommand in OWNERS:
        refuse_in_copy(context.invoked_subcommand)

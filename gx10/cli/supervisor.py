"""What the head's supervisor is asked for, and how a verb ends that asked it."""

from __future__ import annotations

import shlex
import subprocess
import sys

import click
from gx10_host import ENTRY
from gx10_host.exits import NOT_FOUND

from gx10.access import remote
from gx10.access.login import ssh_arguments
from gx10.access.refused import remedy
from gx10.drift.verdict import ERROR

from .described import described

CONTROL = (ENTRY, "control")
DRAIN = click.option(
    "--drain-timeout",
    type=click.FloatRange(min=0),
    help="Seconds to wait for running requests; default: the recipe's drain_timeout_seconds.",
)


def control(*words: str) -> None:
    """Have the head's supervisor do something, and show what it says until it is done; ends with its exit status, which
    gang_control.py explains, or with 1 where ssh did not get there."""
    description = described()
    head = description.cluster.head
    argv = [*ssh_arguments(description, head), shlex.join([*CONTROL, *words])]
    done = subprocess.run(argv, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode == remote.UNREACHABLE:
        unreachable(head, done.stderr)
    if done.returncode == NOT_FOUND:
        click.echo(f"{head}: {remote.failed_because(CONTROL, done.returncode, done.stderr)}", err=True)
        sys.exit(ERROR)
    click.echo(done.stderr or "", err=True, nl=False)
    sys.exit(done.returncode)


def unreachable(head: str, errors: str) -> None:
    """End with 1 where the head does not answer, or lets nobody in."""
    what = remedy(errors)
    told = (
        f"lets nobody in: {what}"
        if what
        else "cannot be reached. Is it on, and is its management cable in? `gx10 status` asks the others"
    )
    click.echo(f"The head {head} {told}.", err=True)
    sys.exit(ERROR)


def drain_words(seconds: float | None) -> list[str]:
    """How long the supervisor shall wait for running requests, as it takes it."""
    return [] if seconds is None else ["--drain-timeout", f"{seconds:g}"]

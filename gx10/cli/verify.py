"""`gx10 verify`: every check on every host, and a verdict that tells a difference from a host that is silent."""

from __future__ import annotations

import subprocess
import sys

import click

from gx10.access.remote import run_all
from gx10.described import checks
from gx10.described.description import Description
from gx10.drift.verdict import DRIFT, ERROR, IN_SYNC

from .described import described

QUIET = (*checks.QUIET, "--tb=line", "--color=no")
"""How the checks are run unless the caller says otherwise: a line for each that fails."""


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("pytest_arguments", nargs=-1)
def verify(pytest_arguments: tuple[str, ...]) -> None:
    """Check every host with testinfra: 0 in sync, 2 something differs, 1 unreachable or unknown.

    PYTEST_ARGUMENTS go to pytest, whose own output is shown then: `gx10 verify -v -k ports`.
    """
    description = described()
    if silent := _silent(description):
        _tell(silent)
        sys.exit(ERROR)
    words = checks.check_words(description.project, *(pytest_arguments or QUIET))
    status = subprocess.run(words, cwd=description.project, check=False).returncode
    # pytest: 0 all passed, 1 some failed; anything else is no verdict.
    if status == 1 and (silent := _silent(description)):
        _tell(silent)
        sys.exit(ERROR)
    sys.exit({0: IN_SYNC, 1: DRIFT}.get(status, ERROR))


def _silent(description: Description) -> dict[str, str]:
    """Hosts that do not answer, and why."""
    answers = run_all(description, lambda _: ["true"], description.cluster.hosts)
    return {answer.host: answer.reason for answer in answers.values() if not answer.ok}


def _tell(silent: dict[str, str]) -> None:
    for host, reason in silent.items():
        click.echo(f"{host} does not answer: {reason}", err=True)
    click.echo("Nothing is known of a cluster while a host is silent: `gx10 status` asks again.", err=True)

"""`gx10 reconcile`: what differs is put back, and the model answers."""

from __future__ import annotations

import time

import click

from gx10.access.lock import LockHeldError, LockUnknownError, locked
from gx10.control_node import state_directory
from gx10.reconcile.progress import shown_on_terminal

from .described import described
from .reported import MEMORY_FILE, STEPS, finish, locked_out, night_of, reported, unknown


@click.command()
@click.option("--nightly", is_flag=True, help="As the timer runs it: wait for the lock, write metrics.")
@click.option("--any-time", is_flag=True, help="Restart the gang where that is due, whatever the window says.")
@click.option("--no-sample", is_flag=True, help="Hash no content.")
@click.option("--checks/--no-checks", default=None, help="Check every node; by default when something was put back.")
@click.option("--reason", default="reconciliation", show_default=True, help="What the lock says that this run is.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def reconcile(  # noqa: PLR0917 - click passes options by name
    nightly: bool, any_time: bool, no_sample: bool, checks: bool | None, reason: str, as_json: bool
) -> None:
    """Find what differs, put back what is safe to, and prove that the model answers.

    Exit status: 0 in sync, 2 drift left, 1 error or unknown, 75 another run holds the lock, 130 and 143 interrupted.
    """
    description = described()
    settings = description.cluster.reconcile
    with reported(description, "reconcile") as (report, directory):
        try:
            wait = settings.lock_wait_seconds if nightly else 0
            booting = boots_for(settings.boot_seconds) if nightly else 0
            state = state_directory(description.cluster.name)
            with (
                shown_on_terminal(report, directory, STEPS),
                locked(description, state, reason, settings.timeout_seconds, wait, booting) as lock,
            ):
                if lock.taken_over:
                    click.echo(f"{lock.taken_over[:1].upper()}{lock.taken_over[1:]}.", err=True)
                night = night_of(description, report, directory, descriptors=lock.descriptors)
                night.any_time, night.sample, night.checks = any_time, not no_sample, checks
                night.silence_seconds = boots_for(settings.boot_seconds) if nightly else 0
                night.run()
                night.memory.write(state / MEMORY_FILE)
        except LockHeldError as error:
            locked_out(report, str(error))
        except LockUnknownError as error:
            unknown(description, report, error)
    finish(description, report, as_json=as_json)


def boots_for(boot_seconds: float) -> float:
    """For how long yet the others of a cluster may be booting, since this host has just booted itself."""
    return max(0.0, boot_seconds - time.clock_gettime(time.CLOCK_BOOTTIME))

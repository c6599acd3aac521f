"""`gx10 retire`: what this package put on a host that is no longer described, or on all of them, goes."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from ipaddress import AddressValueError, IPv4Address
from typing import TYPE_CHECKING, NoReturn

import click
from gx10_host import ENTRY
from rich.console import Console
from rich.table import Table

from gx10.access.lock import LockHeldError, LockUnknownError, locked
from gx10.access.remote import run
from gx10.control_node import state_directory
from gx10.day_two.retirement import (
    RetireError,
    Standing,
    Target,
    forget_runtime,
    kept_here,
    known_members,
    record,
    refusal,
    standing,
)
from gx10.day_two.retirement import retire as retire_host
from gx10.described.members import member
from gx10.drift.verdict import DRIFT, ERROR, IN_SYNC, LOCKED, USAGE

from .described import described

if TYPE_CHECKING:
    from gx10.described.description import Description
    from gx10.described.members import Members

LOCK_SECONDS = 2 * 3600
CONTROL = (ENTRY, "control")


def _say(line: str) -> None:
    click.echo(line)


@click.command()
@click.argument("host", required=False)
@click.option("--address", help="Management address of a host that the last deploys did not know.")
@click.option("--weights", is_flag=True, help="Remove the weights as well: directories that a manifest stands in.")
@click.option("--all", "whole", is_flag=True, help="Retire every host of the cluster, described ones too.")
@click.option("--forget", is_flag=True, help="Touch nothing: say no more that this host is gone.")
@click.option("-y", "--yes", is_flag=True, help="Remove it. Without, show what would go.")
def retire(  # noqa: PLR0917 - click passes options by name
    host: str | None, address: str | None, weights: bool, whole: bool, forget: bool, yes: bool
) -> None:
    """Remove from a host that is no longer described what this package put there.

    Exit status: 0 shown, gone or nothing there, 2 something is left, 1 a host that cannot tell, 64 refused, 75 locked.
    """
    description = described()
    if whole == bool(host) or (forget and (whole or yes)) or (address and not host):
        _refused("Name one host, with --address where no deploy knew it, or write --all. --forget stands alone.")
    try:
        members = known_members(description)
        if forget and host:
            _forget(description, members, host)
        targets = _everybody(description, members) if whole else [_one(description, members, str(host), address)]
        found = {target.name: standing(description, target) for target in targets}
        for target in targets:
            if not whole and (because := refusal(description, target, found[target.name])):
                _refused(because)
        _show(targets, found, weights=weights)
        if not yes:
            _say(f"Nothing was touched: `gx10 retire {'--all' if whole else host}{' --weights' * weights} --yes` does.")
            sys.exit(IN_SYNC)
        sys.exit(_retire(description, members, targets, found, weights=weights, whole=whole))
    except RetireError as error:
        click.echo(str(error), err=True)
        sys.exit(ERROR)
    except LockHeldError as error:
        click.echo(f"{error}. Wait for it, then run again.", err=True)
        sys.exit(LOCKED)
    except LockUnknownError as error:
        click.echo(str(error), err=True)
        sys.exit(ERROR)


def _one(description: Description, members: Members, name: str, address: str | None) -> Target:
    """The host that is named, unless it is described."""
    hosts = description.cluster.hosts
    file = description.loaded.cluster_file
    if name in hosts:
        _refused(
            f"{name} is described in {file}. Take it out there and deploy, so that the gang goes on without it; then "
            "retire it."
        )
    known = members.gone(description).get(name)
    if known is None and address is None:
        gone = ", ".join(members.gone(description)) or "none"
        _refused(f"No deploy knew a host {name} that is gone now; known is {gone}. Name its --address.")
    told = known or member(description, description.cluster.head)
    if address is not None:
        try:
            told = told.at(str(IPv4Address(address)))
        except AddressValueError:
            _refused(f"--address {address} is no IPv4 address.")
    for other, each in hosts.items():
        if told.management in {str(each.management), *map(str, each.fabric)}:
            _refused(f"{told.management} is {other}, which is described in {file}.")
    return Target(name, told, members.former_programs(description))


def _everybody(description: Description, members: Members) -> list[Target]:
    """Every host, the head last: it holds the lock, and the record."""
    cluster, former = description.cluster, members.former_programs(description)
    gone = [Target(name, each, former) for name, each in members.gone(description).items()]
    return [*gone, *(Target(name, member(description, name), former) for name in (*cluster.workers, cluster.head))]


def _forget(description: Description, members: Members, name: str) -> NoReturn:
    if name not in members.gone(description):
        _refused(f"No deploy tells of {name}: it is described, or nobody knew it.")
    record(description, members.with_described(description).without(name), _say)
    _say(f"{name} is forgotten; what stands on it stays.")
    sys.exit(IN_SYNC)


def _retire(
    description: Description,
    members: Members,
    targets: list[Target],
    found: dict[str, Standing],
    *,
    weights: bool,
    whole: bool,
) -> int:
    """Retire hosts one after the other, under the cluster's lock."""
    left: dict[str, Standing] = {}
    name = "the whole cluster" if whole else targets[0].name
    with ExitStack() as stack:
        state = state_directory(description.cluster.name)
        stack.enter_context(locked(description, state, f"retiring {name}", LOCK_SECONDS))
        if whole:
            _drain(description, found)
        for target in targets:
            left[target.name] = retire_host(description, target, found[target.name], weights=weights, say=_say)
        if not whole:
            record(description, members.with_described(description).without(targets[0].name), _say)
    for target in targets:
        forget_runtime(description, target)
    status = IN_SYNC
    for target in targets:
        rows = left[target.name].rows(weights=weights)
        for kind, what, _ in rows:
            click.echo(f"{target.name}: left: {kind} {what}", err=True)
            status = DRIFT
        for sentence in left[target.name].stays(weights=weights):
            _say(f"{target.name}: {sentence}.")
    for sentence in kept_here(description) if whole else ():
        _say(f"{sentence}.")
    _say(f"{name} is retired." if status == IN_SYNC else "Not everything could be removed; run the same command again.")
    return status


def _drain(description: Description, found: dict[str, Standing]) -> None:
    """Let running requests end before the engine goes."""
    head = description.cluster.head
    if found[head].beside["engine"] != "active":
        return
    _say(f"{head}: running requests end, new ones are refused")
    seconds = description.recipe.gx10.drain_timeout_seconds + description.recipe.gx10.stop_timeout_seconds + 120
    answer = run(description, head, [*CONTROL, "stop", "--reason", "the cluster is retired"], seconds)
    if not answer.ok:
        raise RetireError(f"{head}: the gang did not stop: {answer.reason}. `gx10 why` says more.")


def _show(targets: list[Target], found: dict[str, Standing], *, weights: bool) -> None:
    """What would go from each host, and what stays."""
    table = Table()
    for column in ("host", "what", "name", "MB"):
        table.add_column(column, justify="right" if column == "MB" else "left", overflow="fold")
    for target in targets:
        for kind, name, size in found[target.name].rows(weights=weights):
            table.add_row(target.name, kind, name, "" if size is None else f"{size / 1e6:.1f}")
    console = Console(markup=False) if sys.stdout.isatty() else Console(width=140, markup=False)
    console.print(table if table.row_count else "Nothing of this package stands there.")
    for target in targets:
        for sentence in found[target.name].stays(weights=weights):
            _say(f"{target.name}: {sentence}.")
    _say(
        "Left as they are: installed packages, members of the group docker, the default target, Docker's build cache, "
        "and everything that is not this package's."
    )


def _refused(sentence: str) -> NoReturn:
    click.echo(sentence, err=True)
    sys.exit(USAGE)

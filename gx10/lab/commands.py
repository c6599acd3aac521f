"""`gx10 lab …`: the lab on the command line."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec

import click
from rich.console import Console
from rich.table import Table

from .errors import LabError
from .lab import Lab
from .plan import MOST_HOSTS, LabPlan
from .progress import Progress, progress_for
from .status import HostStatus

P = ParamSpec("P")


def checkout_of(directory: Path) -> Path:
    """The checkout that holds the directory: the nearest with a pyproject.toml, else the directory itself."""
    for candidate in (directory, *directory.parents):
        if (candidate / "pyproject.toml").is_file():
            return candidate
    return directory


def _with_lab(command: Callable[Concatenate[Lab, P], None]) -> Callable[P, None]:
    """Give the command the lab, and turn a LabError into a message and exit status 1."""

    @wraps(command)
    def with_lab(*args: P.args, **options: P.kwargs) -> None:
        try:
            command(click.get_current_context().obj, *args, **options)
        except LabError as error:
            raise click.ClickException(str(error)) from error

    return with_lab


@click.group()
@click.option(
    "--checkout",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    envvar="GX10_CHECKOUT",
    help="The checkout the lab belongs to; default: the one you are in.",
)
@click.option(
    "--required-free-gb",
    type=click.IntRange(min=0),
    default=LabPlan.required_free_gb,
    show_default=True,
    envvar="GX10_LAB_REQUIRED_FREE_GB",
    help="Free disk, in 10^9 bytes, below which `up` refuses to make new hosts.",
)
@click.pass_context
def lab(context: click.Context, checkout: Path | None, required_free_gb: int) -> None:
    """Four throw-away hosts on this machine: systemd, sshd, Docker, a management and a fabric network."""
    context.obj = Lab.for_checkout(checkout or checkout_of(Path.cwd()), LabPlan(required_free_gb=required_free_gb))


@lab.command()
@click.option(
    "--hosts-only", is_flag=True, help="Leave out what a deploy to the lab imports: wheels, base image, model."
)
@click.option(
    "--hosts",
    type=click.IntRange(1, MOST_HOSTS),
    help="How many hosts; default: as many as there are, else four, which is what clusters/lab.yaml describes.",
)
@_with_lab
def up(lab: Lab, hosts_only: bool, hosts: int | None) -> None:
    """Bring all hosts up, from whatever state; hosts that are up stay as they are."""
    _cluster_named(lab)
    if hosts is not None:
        lab = lab.of(hosts)
    lab.check()
    with progress_for() as progress, ThreadPoolExecutor(1) as beside:
        kit = None if hosts_only else beside.submit(_prepare_kit, progress)
        lab.up(progress)
        if kit is not None:
            kit.result()
    names = ", ".join(host.name for host in lab.plan.hosts)
    click.echo(f"{names} are up. Log in with `gx10 lab ssh gx10-1` or `ssh -F {lab.ssh_config} gx10-1`.")
    if (name := os.environ.get("GX10_CLUSTER", "lab")) != "lab":
        click.echo(f"GX10_CLUSTER is {name!r}: commands are about that cluster, until `unset GX10_CLUSTER`.", err=True)


def _cluster_named(lab: Lab) -> None:
    """Refuse to begin where GX10_CLUSTER names no cluster: what is typed next would be refused, minutes later."""
    name = os.environ.get("GX10_CLUSTER")
    clusters = lab.names.checkout / "clusters"
    if name and clusters.is_dir() and not (clusters / f"{name}.yaml").is_file():
        there = ", ".join(sorted(path.stem for path in clusters.glob("*.yaml")))
        click.echo(
            f"GX10_CLUSTER is {name!r}, but clusters/{name}.yaml does not exist. Choose one of: {there}; `unset "
            "GX10_CLUSTER` means the lab.",
            err=True,
        )
        raise SystemExit(64)


def _prepare_kit(progress: Progress) -> None:
    from .kit import prepare  # noqa: PLC0415 - only `up` waits for the libraries that build it

    prepare(progress)


@lab.command()
@_with_lab
def down(lab: Lab) -> None:
    """Remove the lab and all its hosts hold; only the cache stays."""
    with progress_for() as progress:
        lab.down(progress)
    click.echo("The lab is gone.")


@lab.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@_with_lab
def status(lab: Lab, as_json: bool) -> None:
    """Show each host's power, cables, ssh, Docker and memory."""
    hosts = lab.status()
    if as_json:
        document = {
            "lab": lab.names.lab,
            "checkout": str(lab.names.checkout),
            "hosts": [dataclasses.asdict(host) for host in hosts],
        }
        click.echo(json.dumps(document, indent=2))
    else:
        Console().print(_table(hosts))


def _table(hosts: list[HostStatus]) -> Table:
    table = Table("host", "power", "management", "fabric", "ssh", "docker")
    table.add_column("memory MiB", justify="right")
    for host in hosts:
        table.add_row(
            host.name,
            _coloured(host.power, good=host.power == "on"),
            _coloured(host.management, good=host.management == "connected"),
            _coloured(host.fabric, good=host.fabric == "connected"),
            _coloured("answers" if host.ssh else "silent", good=host.ssh),
            _coloured(host.docker or "silent", good=host.docker is not None),
            str(host.memory_mib),
        )
    return table


def _coloured(text: str, *, good: bool) -> str:
    return f"[{'green' if good else 'red'}]{text}[/]"


@lab.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("host")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@_with_lab
def ssh(lab: Lab, host: str, command: tuple[str, ...]) -> None:
    """Log in to HOST, or run COMMAND there as ssh does."""
    name = lab.plan.host(host).name
    if not lab.ssh_config.is_file():
        raise LabError(f"There is no lab for {lab.names.checkout}: run `gx10 lab up`.")
    os.execvp("ssh", ["ssh", "-F", str(lab.ssh_config), name, *command])  # noqa: S606 - no shell is wanted


@lab.command("power-off")
@click.argument("hosts", nargs=-1, required=True)
@_with_lab
def power_off(lab: Lab, hosts: tuple[str, ...]) -> None:
    """Cut the power of HOSTS: no shutdown, no goodbye on the network. Their disks stay."""
    lab.power_off(*hosts)


@lab.command("power-on")
@click.argument("hosts", nargs=-1, required=True)
@_with_lab
def power_on(lab: Lab, hosts: tuple[str, ...]) -> None:
    """Boot HOSTS from their disks and wait until they answer."""
    with progress_for() as progress:
        lab.power_on(*hosts, progress=progress)


@lab.command()
@click.argument("host")
@click.argument("network", type=click.Choice(["fabric", "management"]))
@_with_lab
def cut(lab: Lab, host: str, network: str) -> None:
    """Pull HOST's cable to NETWORK."""
    lab.cut(host, network)


@lab.command()
@click.argument("host")
@_with_lab
def mend(lab: Lab, host: str) -> None:
    """Plug both cables of HOST in."""
    lab.mend(host)

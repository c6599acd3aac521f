"""`gx10 models`: what lies in the model roots, what may go, and whether it is right."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click
from gx10_host import ENTRY
from rich.console import Console
from rich.table import Table

from gx10.access.remote import Answer, run_all
from gx10.drift.verdict import DRIFT, ERROR, IN_SYNC, USAGE
from gx10.weights.policy import all_recipes, policy

from .described import described
from .pyinfra_command import deployed
from .weights_check import verified

if TYPE_CHECKING:
    from gx10.described.description import Description

GB = 1e9
PARTITION = (ENTRY, "weights")


@click.group()
def models() -> None:
    """Show, plan, fetch, check and clean the weights on every host."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print what each host answered as JSON.")
def list_models(as_json: bool) -> None:
    """Show what lies in the model root of every host."""
    description = described()
    answers = _asked(description, "plan", _policy(description, everything=True))
    if as_json:
        _print_json(answers)
    else:
        table = _table("host", "what", "kind", "GB", "standing")
        for host, answer in answers.items():
            if not answer.ok:
                table.add_row(host, answer.reason, "", "", "unknown")
                continue
            told = answer.value
            for model in told["models"]:
                standing = model["standing"] + (f", {model['unproven']} unproven" if model["unproven"] else "")
                table.add_row(host, _shown(model["path"]), "model", _gb(model["bytes"]), standing)
            for item in told["items"]:
                table.add_row(host, _shown(item["path"]), item["kind"], _gb(item["bytes"]), f"may go: {item['why']}")
            for item in told["unknown"]:
                table.add_row(host, _shown(item["path"]), "unknown", _gb(item["bytes"]), f"stays: {item['why']}")
            table.add_row(host, told["root"], "free", _gb(told["free"]), f"of {_gb(told['total'])}")
        _console().print(table)
    sys.exit(_status(answers, lambda _: False))


@models.command()
@click.option("--named", multiple=True, metavar="PATH", help="Also this, whatever it is; below the model root.")
@click.option("--json", "as_json", is_flag=True, help="Print what each host answered as JSON.")
def plan(named: tuple[str, ...], as_json: bool) -> None:
    """Show what `clean` would remove: 0 nothing, 2 something, 1 a host that cannot tell."""
    description = described()
    answers = _asked(description, "plan", _policy(description, named))
    if as_json:
        _print_json(answers)
    else:
        _print_plan(answers)
    sys.exit(_status(answers, lambda told: bool(told["items"])))


@models.command()
@click.option("--named", multiple=True, metavar="PATH", help="Also this, whatever it is; below the model root.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def clean(named: tuple[str, ...], yes: bool) -> None:
    """Remove what the policy of the cluster file lets go, after showing it."""
    description = described()
    wanted = _policy(description, named)
    planned = _asked(description, "plan", wanted)
    _print_plan(planned)
    if not all(answer.ok for answer in planned.values()):
        sys.exit(ERROR)
    _named_somewhere(planned, named)
    hosts = [host for host, answer in planned.items() if answer.value["items"]]
    if not hosts:
        sys.exit(IN_SYNC)
    if not yes:
        click.confirm("Remove this?", abort=True)
    done = _asked(description, "clean", wanted, {host: planned[host].value["digest"] for host in hosts})
    for host, answer in done.items():
        if answer.ok:
            removed = answer.value["removed"]
            click.echo(f"{host}: removed {len(removed)}, {_gb(answer.value['free'])} GB are free")
        else:
            click.echo(f"{host}: {answer.reason}", err=True)
    sys.exit(IN_SYNC if all(answer.ok for answer in done.values()) else ERROR)


@models.command()
def fetch() -> None:
    """Have image and weights of the described recipe on every host, without touching what runs."""
    sys.exit(deployed(described(), "deploys/stage.py"))


@models.command()
@click.option("--full", is_flag=True, help="Hash every file, whenever it was proven.")
@click.option("--sample", metavar="K/N", help="Hash the K-th of N parts; together they are everything.")
@click.option("--nights", type=click.IntRange(1, 366), help="Hash tonight's of so many parts.")
def verify(full: bool, sample: str | None, nights: int | None) -> None:
    """Check the served weights on every host: 0 right, 2 something is damaged, 1 a host that cannot tell."""
    sys.exit(verified(described(), full=full, sample=sample, nights=nights))


def _policy(description: Description, named: Iterable[str] = (), *, everything: bool = False) -> str:
    recipes = all_recipes(description.project)
    told = policy(description.cluster, description.recipe, recipes, named, everything=everything)
    return json.dumps(told, sort_keys=True)


def _named_somewhere(answers: dict[str, Answer], named: Iterable[str]) -> None:
    """End with 64 where a path was named that is on no host."""
    there = {item["path"] for answer in answers.values() if answer.ok for item in answer.value["items"]}
    if missing := [name for name in named if name.rstrip("/") not in there]:
        click.echo(
            f"No host has {', '.join(missing)} below its model root: `gx10 models list` shows what is.", err=True
        )
        sys.exit(USAGE)


def _asked(
    description: Description, action: str, told: str, approved: dict[str, str] | None = None
) -> dict[str, Answer]:
    """Have the model roots looked at or cleaned; the last line of each host's answer is JSON."""

    def question(host: str) -> list[str]:
        words = [*PARTITION, action, *(["--approved", approved[host]] if approved else [])]
        return ["sh", "-c", f"printf %s {shlex.quote(told)} | {shlex.join(words)}"]

    answers = run_all(description, question, approved or description.cluster.hosts, 3600)
    return {host: Answer(host, json.loads(answer.value)) if answer.ok else answer for host, answer in answers.items()}


def _status(answers: dict[str, Answer], differs: Callable[[Any], bool]) -> int:
    if not all(answer.ok for answer in answers.values()):
        return ERROR
    return DRIFT if any(differs(answer.value) for answer in answers.values()) else IN_SYNC


def _print_plan(answers: dict[str, Answer]) -> None:
    table = _table("host", "would be removed", "kind", "GB", "because")
    for host, answer in answers.items():
        if not answer.ok:
            table.add_row(host, answer.reason, "", "", "unknown")
            continue
        for item in answer.value["items"]:
            table.add_row(host, _shown(item["path"]), item["kind"], _gb(item["bytes"]), item["why"])
        freed = sum(item["bytes"] for item in answer.value["items"])
        table.add_row(host, "", "", _gb(freed), f"beside {_gb(answer.value['free'])} GB that are free")
    _console().print(table)


def _print_json(answers: dict[str, Answer]) -> None:
    click.echo(json.dumps({host: answer.value or {"reason": answer.reason} for host, answer in answers.items()}))


def _table(*columns: str) -> Table:
    table = Table()
    for column in columns:
        table.add_column(column, justify="right" if column == "GB" else "left", overflow="fold")
    return table


def _console() -> Console:
    # Where the output is no terminal, rich would squeeze the table into 80 columns.
    return Console(markup=False) if sys.stdout.isatty() else Console(width=160, markup=False)


def _shown(path: str) -> str:
    """A path as it can be printed: names that are no text, or hold line ends, are shown escaped."""
    return path if path.isprintable() else repr(path)


def _gb(count: float) -> str:
    return f"{count / GB:.2f}"

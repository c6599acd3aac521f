"""The `gx10` command: the lab, the state of the cluster, its checks, and a word with the model."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click

from gx10.settings import PROJECT, SettingsError
from gx10.settings.load import MARK

if TYPE_CHECKING:
    from gx10.engine.description import Description

IN_SYNC, ERROR, USAGE = 0, 1, 64
LAZY = {
    "images": "gx10.image_commands:images",
    "lab": "gx10.lab.commands:lab",
    "start": "gx10.gang_commands:start",
    "stop": "gx10.gang_commands:stop",
    "restart": "gx10.gang_commands:restart",
    "logs": "gx10.gang_commands:logs",
    "why": "gx10.gang_commands:why",
    "models": "gx10.model_commands:models",
    "serve": "gx10.model_commands:serve",
    "plan": "gx10.reconcile_commands:plan",
    "reconcile": "gx10.reconcile_commands:reconcile",
    "suspend": "gx10.reconcile_commands:suspend",
    "resume": "gx10.reconcile_commands:resume",
    "history": "gx10.reconcile_commands:history",
    "diff": "gx10.reconcile_commands:diff",
}
"""Groups that are imported when they are called: a cluster's owner does not wait for the lab's libraries."""
OWNERS = ("lab", "retire", "serve")
"""Commands that change the description, or what is no part of it: they belong where the owner deploys from."""


class Commands(click.Group):
    """The commands there are, some of them in modules that are imported when called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands."""
        return sorted([*super().list_commands(ctx), *LAZY])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by name."""
        if target := LAZY.get(cmd_name):
            module, _, name = target.partition(":")
            command: click.Command = getattr(import_module(module), name)
            return command
        return super().get_command(ctx, cmd_name)


def described() -> Description:
    """The described cluster; every problem is printed and the command ends with 64 when it is refused."""
    from gx10.engine.description import described_by_environment  # noqa: PLC0415 - not needed for `gx10 lab`

    try:
        return described_by_environment()
    except SettingsError as error:
        click.echo(str(error), err=True)
        sys.exit(USAGE)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def main(context: click.Context) -> None:
    """Serve one large model from a few small machines. GX10_CLUSTER names the cluster file; the default is the lab."""
    if context.invoked_subcommand in OWNERS:
        refuse_in_copy(context.invoked_subcommand)


def refuse_in_copy(verb: str) -> None:
    """End with 64 where this is the reconciler's copy of the project, in which nothing is written."""
    if (PROJECT / MARK).is_file():
        click.echo(
            f"{PROJECT} is the reconciler's copy, which deploys write. Run `gx10 {verb}` where you deploy from.",
            err=True,
        )
        sys.exit(USAGE)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print what each host answered as JSON.")
def status(as_json: bool) -> None:
    """Show each host: reachable, image, weights, Ray, engine."""
    from rich.console import Console  # noqa: PLC0415 - see `described`

    from gx10.status import ask_status, gang_line, serving, status_table  # noqa: PLC0415

    description = described()
    answers = ask_status(description)
    if as_json:
        click.echo(json.dumps({name: answer.value or {"reason": answer.reason} for name, answer in answers.items()}))
    else:
        # Where the output is no terminal, rich would squeeze the table into 80 columns.
        console = Console() if sys.stdout.isatty() else Console(width=140)
        console.print(status_table(description, answers))
        console.print(gang_line(description, answers))
    sys.exit(IN_SYNC if serving(description, answers) else ERROR)


@main.command()
@click.argument("prompt", default="Tell me what a GX10 is.")
@click.option("--tokens", default=48, show_default=True, help="Most tokens to generate.")
def chat(prompt: str, tokens: int) -> None:
    """Ask the served model, on the head itself."""
    from gx10.remote import run  # noqa: PLC0415 - see `described`

    description = described()
    words = ["/usr/local/lib/gx10/completion.py", "--url", description.local_url, "--model", description.served_name]
    words += ["--prompt", prompt, "--tokens", str(tokens)]
    answer = run(description, description.cluster.head, words, seconds=150)
    if not answer.ok:
        click.echo(f"{description.cluster.head}: {answer.reason}. `gx10 status` shows what is missing.", err=True)
        sys.exit(ERROR)
    told = json.loads(answer.value)
    click.echo(f"{description.served_name}: {told['text']}")
    click.echo(f"({told['tokens']} tokens in {told['seconds']} s)", err=True)


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("pytest_arguments", nargs=-1)
def verify(pytest_arguments: tuple[str, ...]) -> None:
    """Check every host with testinfra: 0 in sync, 2 something differs, 1 unreachable or unknown."""
    description = described()
    checks = description.project / "tests" / "nodes"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", str(checks), "-p", "no:cacheprovider", *pytest_arguments],
        cwd=description.project,
        check=False,
    )
    # pytest: 0 all passed, 1 some failed; anything else is no verdict.
    sys.exit({0: IN_SYNC, 1: 2}.get(done.returncode, ERROR))


if __name__ == "__main__":
    main()

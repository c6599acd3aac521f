"""The `gx10` command: the lab, the state of the cluster, its checks, and a word with the model."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click
from gx10_host import ENTRY

from gx10.interrupts import Interrupted, raising, tell
from gx10.settings import PROJECT, SettingsError
from gx10.settings.load import MARK

from .interrupted import sentence

if TYPE_CHECKING:
    from gx10.described.description import Description

IN_SYNC, ERROR, DRIFT, USAGE = 0, 1, 2, 64
LAZY = {
    "images": "gx10.cli.image_commands:images",
    "lab": "gx10.lab.commands:lab",
    "start": "gx10.cli.gang_commands:start",
    "stop": "gx10.cli.gang_commands:stop",
    "restart": "gx10.cli.gang_commands:restart",
    "logs": "gx10.cli.gang_commands:logs",
    "why": "gx10.cli.gang_commands:why",
    "models": "gx10.cli.model_commands:models",
    "serve": "gx10.cli.model_commands:serve",
    "retire": "gx10.cli.retire_commands:retire",
    "verify": "gx10.cli.verify_command:verify",
    "plan": "gx10.cli.reconcile_commands:plan",
    "reconcile": "gx10.cli.reconcile_commands:reconcile",
    "suspend": "gx10.cli.reconcile_commands:suspend",
    "resume": "gx10.cli.reconcile_commands:resume",
    "history": "gx10.cli.reconcile_commands:history",
    "diff": "gx10.cli.reconcile_commands:diff",
    "unlock": "gx10.cli.reconcile_commands:unlock",
}
"""Groups that are imported when they are called: a cluster's owner does not wait for the lab's libraries."""
OWNERS = ("lab", "retire", "serve")
"""Commands that change the description, or what is no part of it: they belong where the owner deploys from."""


LOCAL = frozenset({"diff", "history"})
"""Commands that ask no host."""
READS = frozenset({"logs", "status", "why"})
"""Commands that show what is, and nothing of what is described."""


click.UsageError.exit_code = USAGE  # click's own is 2, which is this package's "drift"


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

    def main(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - click's own
        """Run a command; an interrupt says what goes on and what to type next, and ends with the signal's status."""
        with raising():
            try:
                return super().main(*args, **options)
            except Interrupted as interrupted:
                tell(f"\n{interrupted}. {interrupted.sentence or sentence(interrupted.command)}")
                sys.exit(interrupted.status)


def described() -> Description:
    """The described cluster; every problem is printed and the command ends with 64 when it is refused.

    What only reads goes on with the description that loaded last, and says so: it is needed while an edit is broken.
    """
    from gx10.access.access_files import missing_files  # noqa: PLC0415 - not needed for `gx10 lab`
    from gx10.described.description import described_by_environment  # noqa: PLC0415

    from .last_description import keep, last  # noqa: PLC0415

    try:
        description = described_by_environment()
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
            missing_files(description)
    except SettingsError as error:
        click.echo(str(error), err=True)
        sys.exit(USAGE)
    return description


def _command() -> str:
    """The command that is at work, without `gx10`."""
    context = click.get_current_context(silent=True)
    return context.command_path.partition(" ")[2] if context else ""


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

    from gx10.day_two.status import ask_status, gang_line, serving, status_table  # noqa: PLC0415

    description = described()
    answers = ask_status(description)
    if as_json:
        click.echo(json.dumps({name: answer.value or {"reason": answer.reason} for name, answer in answers.items()}))
    else:
        # Where the output is no terminal, rich would squeeze the table into 80 columns, and break what its cells say: a
        # reason is a sentence, which somebody may look for. The table is no wider than its cells.
        console = Console() if sys.stdout.isatty() else Console(width=1000)
        console.print(status_table(description, answers))
        console.print(gang_line(description, answers))
    sys.exit(IN_SYNC if serving(description, answers) else ERROR)


@main.command()
@click.argument("prompt", default="Tell me what a GX10 is.")
@click.option("--tokens", default=48, show_default=True, help="Most tokens to generate.")
def chat(prompt: str, tokens: int) -> None:
    """Ask the served model, on the head itself."""
    from gx10.access.remote import run  # noqa: PLC0415 - see `described`

    description = described()
    words = [ENTRY, "completion", "--url", description.local_url, "--model", description.served_name]
    words += ["--prompt", prompt, "--tokens", str(tokens)]
    answer = run(description, description.cluster.head, words, seconds=150)
    if not answer.ok:
        click.echo(f"{description.cluster.head}: {answer.reason}. `gx10 status` shows what is missing.", err=True)
        sys.exit(ERROR)
    told = json.loads(answer.value)
    click.echo(f"{description.served_name}: {told['text']}")
    click.echo(f"({told['tokens']} tokens in {told['seconds']} s)", err=True)

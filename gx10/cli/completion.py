"""`gx10 completion`: what a shell needs to complete the command's words."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what has a shell complete the words of gx10.

    For the shell that you are in: `eval "$(gx10 completion bash)"`, or `zsh`; in fish, `gx10 completion fish | source`.
    The same line in ~/.bashrc, ~/.zshrc or ~/.config/fish/config.fish keeps it.
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click brings these three
    click.echo(kind(context.find_root().command, {}, "gx10", "_GX10_COMPLETE").source())

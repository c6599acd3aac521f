"""`gx10 chat`: a word with the served model."""

from __future__ import annotations

import json
import sys

import click
from gx10_host import ENTRY

from gx10.access import remote
from gx10.drift.verdict import ERROR

from .described import described


@click.command()
@click.argument("prompt", default="Tell me what a GX10 is.")
@click.option("--tokens", default=48, show_default=True, help="Most tokens to generate.")
def chat(prompt: str, tokens: int) -> None:
    """Ask the served model, on the head itself."""
    description = described()
    words = [ENTRY, "completion", "--url", description.local_url, "--model", description.served_name]
    words += ["--prompt", prompt, "--tokens", str(tokens)]
    answer = remote.run(description, description.cluster.head, words, seconds=150)
    if not answer.ok:
        click.echo(f"{description.cluster.head}: {answer.reason}. `gx10 status` shows what is missing.", err=True)
        sys.exit(ERROR)
    told = json.loads(answer.value)
    click.echo(f"{description.served_name}: {told['text']}")
    click.echo(f"({told['tokens']} tokens in {told['seconds']} s)", err=True)

"""`gx10 start`, `stop`, `restart`, `logs` and `why`: the gang on the command line."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import click
from gx10_host import ENTRY
from gx10_host.exits import NOT_FOUND

from . import ERROR, USAGE, described

if TYPE_CHECKING:
    from gx10.described.description import Description

CONTROL = (ENTRY, "control")
EXPLAIN = (ENTRY, "why")
UNITS = ("gx10-gang.service", "ray-head.service", "ray-worker.service", "vllm-engine.service")
POLLED = re.compile(r'"(?:GET|HEAD) /(?:metrics|health|ping)(?:\?\S*)? HTTP/[\d.]+" 200\b')
"""What the engine's API logs of those who look at it every second; one that was not answered with 200 is shown."""


def _control(*words: str) -> None:
    """Have the head's supervisor do something, and show what it says until it is done; ends with its exit status, which
    gang_control.py explains, or with 1 where ssh did not get there."""
    from gx10.access.remote import UNREACHABLE, failed_because, ssh_arguments  # noqa: PLC0415 - only where a host is asked

    description = described()
    head = description.cluster.head
    argv = [*ssh_arguments(description, head), shlex.join([*CONTROL, *words])]
    done = subprocess.run(argv, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode == UNREACHABLE:
        _unreachable(head)
    if done.returncode == NOT_FOUND:
        click.echo(f"{head}: {failed_because(CONTROL, done.returncode, done.stderr)}", err=True)
        sys.exit(ERROR)
    click.echo(done.stderr or "", err=True, nl=False)
    sys.exit(done.returncode)


def _unreachable(head: str) -> None:
    """End with 1 where the head does not answer."""
    click.echo(
        f"The head {head} cannot be reached. Is it on, and is its management cable in? `gx10 status` asks the others.",
        err=True,
    )
    sys.exit(ERROR)


DRAIN = click.option(
    "--drain-timeout",
    type=click.FloatRange(min=0),
    help="Seconds to wait for running requests; default: the recipe's drain_timeout_seconds.",
)


def _drain(seconds: float | None) -> list[str]:
    return [] if seconds is None else ["--drain-timeout", f"{seconds:g}"]


@click.command()
@click.option("--full", is_flag=True, help="Take back what fallbacks gave up.")
def start(full: bool) -> None:
    """Start the gang, also after its budget was spent, and wait until it serves.

    Exit status of start, stop and restart: 0 done, 2 it came out otherwise, 3 not within an hour, 1 the head cannot be
    reached, 130 interrupted. What was asked for goes on in the last three.
    """
    _control("start", *(["--full"] if full else []))


@click.command()
@DRAIN
def stop(drain_timeout: float | None) -> None:
    """Let running requests end, then stop the gang until `gx10 start`, the next deploy or the next night."""
    _control("stop", *_drain(drain_timeout))


@click.command()
@DRAIN
def restart(drain_timeout: float | None) -> None:
    """Let running requests end, then restart the gang and wait until it serves."""
    _control("restart", *_drain(drain_timeout))


@click.command()
@click.option("--host", "hosts", multiple=True, help="Only this host; may be given more than once.")
@click.option("--generation", default="", help="Only this generation, or this life of it: GENERATION.NUMBER.")
@click.option("--since", default="-1h", show_default=True, help="As journalctl takes it.")
@click.option("--lines", default=0, help="Only the last so many lines of all together.")
@click.option("--all", "every", is_flag=True, help="Also the engine's lines about GET /metrics and /health.")
def logs(hosts: tuple[str, ...], generation: str, since: str, lines: int, every: bool) -> None:
    """Show what supervisors, Ray and engine wrote on every host, merged in the order of time."""
    description = described()
    known = description.cluster.hosts
    if unknown := [host for host in hosts if host not in known]:
        click.echo(f"There is no host {unknown[0]!r}; the cluster's hosts are {', '.join(known)}.", err=True)
        sys.exit(USAGE)
    entries, silent = journal(description, hosts or tuple(known), generation, since)
    shown = entries if every else [entry for entry in entries if not POLLED.search(message_of(entry))]
    for entry in shown[-lines:] if lines else shown:
        click.echo(line_of(entry))
    for sentence in silent:
        click.echo(sentence, err=True)
    sys.exit(ERROR if silent else 0)


@click.command()
@click.option("--full", is_flag=True, help="Every line that was kept of the last life that ended, of every part.")
def why(full: bool) -> None:
    """Say on one screen why the cluster does not serve, or what happened last, with evidence.

    Exit status: 0 it serves, 2 it does not, 1 the head or its supervisor does not answer.
    """
    from gx10.access.remote import run  # noqa: PLC0415 - only where a host is asked

    description = described()
    head = description.cluster.head
    answer = run(description, head, [*EXPLAIN, *(["--full"] if full else [])])
    click.echo(answer.output, nl=False)
    if answer.status is None:
        _unreachable(head)
    elif answer.status == NOT_FOUND:
        click.echo(f"{head}: {answer.reason}", err=True)
        sys.exit(ERROR)
    sys.exit(answer.status)


def journal(
    description: Description, hosts: tuple[str, ...], generation: str, since: str
) -> tuple[list[dict[str, Any]], list[str]]:
    """Journal entries of the gang on hosts in the order of time, and a sentence for each host that did not answer."""
    from gx10.access.remote import run_all  # noqa: PLC0415

    words = ["journalctl", "--output", "json", "--no-pager", "--quiet", "--since", since]
    words += [f"--unit={unit}" for unit in UNITS]
    answers = run_all(description, lambda _: words, hosts, 120)
    entries = []
    for answer in answers.values():
        if answer.ok:
            told = [json.loads(line) for line in answer.value.splitlines()]
            entries += [{**entry, "host": answer.host} for entry in told if of_generation(entry, generation)]
    entries.sort(key=lambda entry: int(entry["__REALTIME_TIMESTAMP"]))
    return entries, [f"{answer.host}: {answer.reason}" for answer in answers.values() if not answer.ok]


def of_generation(entry: dict[str, Any], generation: str) -> bool:
    """Whether an entry belongs to a generation, or to one life of it; an empty one is any."""
    wanted, _, life = generation.partition(".")
    if not wanted:
        return True
    return bool(entry.get("GX10_GENERATION") == wanted and (not life or entry.get("GX10_LIFE") == life))


def message_of(entry: dict[str, Any]) -> str:
    """What an entry says."""
    message = entry.get("MESSAGE") or ""
    return bytes(message).decode(errors="replace") if isinstance(message, list) else str(message)


def line_of(entry: dict[str, Any]) -> str:
    """One line: time, host, part, life, text."""
    from datetime import UTC, datetime  # noqa: PLC0415

    moment = datetime.fromtimestamp(int(entry["__REALTIME_TIMESTAMP"]) / 1e6, tz=UTC)
    part = entry.get("GX10_RANK", "").partition("/")[2] or entry.get("_SYSTEMD_UNIT", "").removesuffix(".service")
    generation = entry.get("GX10_GENERATION", "")
    life = f"{generation[:8]}.{entry.get('GX10_LIFE', '')}" if generation else "-"
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z {entry['host']} {part} {life} {message_of(entry)}"

"""`gx10 logs`: what supervisors, Ray and engine wrote on every host, in the order of time."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime
from typing import Any

import click

from gx10.access import remote
from gx10.described.description import Description
from gx10.described.gang_files import GANG_UNIT, PARTS
from gx10.drift.verdict import ERROR, USAGE

from .described import described

POLLED = re.compile(r'"(?:GET|HEAD) /(?:metrics|health|ping)(?:\?\S*)? HTTP/[\d.]+" 200\b')
"""What the engine's API logs of those who look at it every second; one that was not answered with 200 is shown."""


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


def journal(
    description: Description, hosts: tuple[str, ...], generation: str, since: str
) -> tuple[list[dict[str, Any]], list[str]]:
    """Journal entries of the gang on hosts in the order of time, and a sentence for each host that did not answer."""
    words = ["journalctl", "--output", "json", "--no-pager", "--quiet", "--since", since]
    words += [f"--unit={unit}" for unit in (GANG_UNIT, *PARTS)]
    answers = remote.run_all(description, lambda _: words, hosts, 120)
    entries = []
    for answer in answers.values():
        if answer.ok:
            told = [json.loads(line) for line in answer.value.splitlines()]
            entries += [{**entry, "host": answer.host} for entry in told if of_generation(entry, generation)]
    entries.sort(key=lambda entry: int(entry["__REALTIME_TIMESTAMP"]))
    return entries, [f"{answer.host}: {answer.reason}" for answer in answers.values() if not answer.ok]


def of_generation(entry: dict[str, Any], generation: str) -> bool:
    """Whether an entry belongs to a generation, or to one life of it; an empty one is any."""
    of = entry.get("GX10_GENERATION", "")
    return generation in ("", of, f"{of}.{entry.get('GX10_LIFE', '')}")


def message_of(entry: dict[str, Any]) -> str:
    """What an entry says."""
    message = entry.get("MESSAGE") or ""
    return bytes(message).decode(errors="replace") if isinstance(message, list) else str(message)


def line_of(entry: dict[str, Any]) -> str:
    """One line: time, host, part, life, text."""
    moment = datetime.fromtimestamp(int(entry["__REALTIME_TIMESTAMP"]) / 1e6, tz=UTC)
    part = entry.get("GX10_RANK", "").partition("/")[2] or entry.get("_SYSTEMD_UNIT", "").removesuffix(".service")
    generation = entry.get("GX10_GENERATION", "")
    life = f"{generation[:8]}.{entry.get('GX10_LIFE', '')}" if generation else "-"
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z {entry['host']} {part} {life} {message_of(entry)}"

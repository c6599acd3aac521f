"""Files and directories as described: compared by content, mode and owner; written whole or not at all."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from typing import Any

from pyinfra import host
from pyinfra.api.command import QuoteString

from gx10.described.entries import Directory, File
from gx10.drift.classes import Drift
from gx10.facts import FileStates, SystemState
from gx10.probes import writer_words

from .loop.asking import ask, surveyed_first
from .loop.commands import Command, Commands
from .loop.declared import drifted, operation

UNITS = "/etc/systemd/system/"


def topmost(paths: Iterable[str]) -> list[str]:
    """Paths without those that lie below another of them."""
    kept: list[str] = []
    for path in sorted(paths, key=lambda path: path.split("/")):
        if not kept or not path.startswith(f"{kept[-1]}/"):
            kept.append(path)
    return kept


def told_state(found: dict[str, Any] | None) -> str:
    """What was found at a path, in words: kind, beginning of the digest, mode and owner."""
    if found is None:
        return "absent"
    digest = f" {found['sha256'][:12]}" if "sha256" in found else ""
    return f"{found['kind']}{digest} {found['mode']} {found['user']}:{found['group']}"


def put_entries(entries: Sequence[File | Directory]) -> str:
    """Entries as the program that writes them takes them on its standard input."""
    told = [
        {
            "path": entry.path,
            "mode": entry.mode,
            "user": entry.user,
            "group": entry.group,
            "content": base64.b64encode(entry.content).decode() if isinstance(entry, File) else None,
        }
        for entry in entries
    ]
    return json.dumps(told)


def put_command(entries: Sequence[File | Directory]) -> Command:
    """The command that writes entries on a host: each under a temporary name, synced, renamed.

    Contents travel on standard input, so that no secret stands in an argument list, and a file has its final mode
    before its first byte.
    """
    return Command(*(QuoteString(word) for word in writer_words("put")), _stdin=put_entries(entries))


@operation(drift=Drift.HEAL)
def files_described(entries: Sequence[File | Directory], drift: Drift | None = None) -> Commands:
    """Bring files and directories to their described content, mode and owner.

    systemd is told to read its units again when one of them changed, or when it still holds an older text of one.
    `drift` is their class where it is not the operation's own.
    """
    found = ask(FileStates, paths=[entry.path for entry in entries])
    wrong = [
        entry
        for entry in entries
        if entry.differs(found[entry.path])
        and drifted(entry.path, told_state(found[entry.path]), entry.described, drift=drift)
    ]
    units = [entry.path.removeprefix(UNITS) for entry in entries if _is_unit(entry.path)]
    # Looked for also where a unit's file is wrong: when that file is left alone, its reload must be as well.
    stale = _holds_older(units, drift) or any(_is_unit(entry.path) for entry in wrong)
    if not wrong and not stale:
        host.noop(f"{len(entries)} files and directories are as described")
        return
    if wrong:
        yield put_command(wrong)
    if stale:
        yield Command("systemctl", "daemon-reload")


def _is_unit(path: str) -> bool:
    return path.startswith(UNITS) and "/" not in path.removeprefix(UNITS)


def _holds_older(units: list[str], drift: Drift | None) -> bool:
    if not units:
        return False
    # By what was there when the run began: one operation's reload is one for the units of all.
    states = surveyed_first(SystemState, units=units)["units"]
    older = [unit for unit in units if states.get(unit, {}).get("NeedDaemonReload") == "yes"]
    acted_on = [unit for unit in older if drifted(unit, "an older text in systemd", "the file's", drift=drift)]
    return bool(acted_on)


def marks(title: str) -> tuple[str, str]:
    """The lines that stand before and after a block."""
    return f"# {title}: begin", f"# {title}: end"


@operation(drift=Drift.HEAL)
def block_leads_file(path: str, title: str, lines: Sequence[str]) -> Commands:
    """Let some lines, between two marks, lead a file whose other lines belong to somebody else.

    They lead because the first entry of /etc/hosts wins.
    """
    found = ask(FileStates, paths=[], blocks={path: marks(title)})[path]
    if (found and found["block"] == list(lines)) or not drifted(path, "no such lines", f"the lines of {title}"):
        host.noop(f"{path} has the lines of {title}")
        return
    told = {"path": path, "marks": marks(title), "lines": list(lines)}
    yield Command(*(QuoteString(word) for word in writer_words("block")), _stdin=json.dumps(told))

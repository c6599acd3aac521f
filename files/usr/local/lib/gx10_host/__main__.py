"""`gx10-host VERB ...`: what units and operations have a host do, each verb a module with a `main`."""

from __future__ import annotations

import importlib
import io
import sys
from types import ModuleType

from gx10_host.exits import USAGE

VERBS = {
    "archive": "image.archive",
    "completion": "engine.completion",
    "content": "content.transfer",
    "control": "gang.control",
    "engine-gate": "gang.gate",
    "environment": "night.environment",
    "gang": "gang.supervisor",
    "hub": "content.hub",
    "images": "image.gc",
    "metrics": "night.metrics",
    "project": "night.project",
    "rank-gate": "gang.rank_gate",
    "ranks": "gang.ranks",
    "share": "content.share",
    "weights": "weights.remove",
    "why": "gang.why",
}


def main(argv: list[str]) -> int:
    """Run the verb that the first word names with the others; without one, list them all."""
    if not argv or argv[0] in {"-h", "--help"}:
        print("usage: gx10-host VERB ...\n")
        for verb in VERBS:
            print(f"  {verb:12} {(_module(verb).__doc__ or '').splitlines()[0]}")
        return 0 if argv else USAGE
    verb, *words = argv
    if verb not in VERBS:
        print(f"gx10-host: there is no verb {verb!r}; `gx10-host --help` lists them all.", file=sys.stderr)
        return USAGE
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files are told as they are, whatever the terminal can show.
        sys.stdout.reconfigure(errors="backslashreplace")
    # What a parser's usage calls this program.
    sys.argv[0] = f"gx10-host {verb}"
    status: int = _module(verb).main(words)
    return status


def _module(verb: str) -> ModuleType:
    return importlib.import_module(f"gx10_host.{VERBS[verb]}")

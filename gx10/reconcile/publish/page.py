"""The last runs on one page of HTML: nothing is fetched, no script runs, light and dark, readable on a phone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from gx10.drift.classify import Decision
from gx10.drift.verdict import Status

from ..report import OperationReport, Report

TONES = {
    Status.IN_SYNC: "good",
    Status.HEALED: "good",
    Status.DRIFTED: "warn",
    Status.SUSPENDED: "warn",
    Status.LOCKED: "warn",
    Status.UNKNOWN: "bad",
    Status.FAILED: "bad",
}


def page(cluster: str, reports: Iterable[Report]) -> str:
    """The page of a cluster's runs, the latest first."""
    return _template().render(cluster=cluster, runs=list(reports), tones=TONES)


@cache
def _template() -> Template:
    # Whatever a report holds is text: hosts, files and reasons are others' words.
    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"moment": _moment, "tone": _tone, "found_count": _found_count}
    return environment.get_template("page.html.j2")


def _tone(operation: OperationReport) -> str:
    if operation.result == "failed":
        return "bad"
    put_back = operation.decision in (Decision.PUT_BACK, Decision.RESTART) and operation.result == "changed"
    return "good" if put_back else "warn"


def _found_count(operation: OperationReport) -> int:
    return max(1, len(operation.differences))


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} {moment.tzname()}"

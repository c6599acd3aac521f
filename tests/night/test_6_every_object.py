"""Completeness: everything that the deploy puts on a host is edited, removed, overridden and masked, and all is found.

Objects and ways come from the description by `cells`, not from a list kept by hand.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Iterator

import pytest

from gx10.described.description import describe
from gx10.drift.verdict import Status
from gx10.lab.errors import LabError
from gx10.lab.lab import Lab
from gx10.reconcile.report import OperationReport, Report

from ..drift.nights import pairs
from ..lab.deployment import PROJECT, gx10
from .cells import NOT_DONE, Cell, Finder, cells, in_the_way
from .installed import begin, deployed, ended, injected, night, run_names, unit

pytestmark = pytest.mark.lab

TABLE = PROJECT / "docs/drift-cells.md"
KEPT, RESUME = PROJECT / ".cache/night-cells.json", "GX10_RESUME"
PER_CALL = 40
"""Injections that one login makes."""


@pytest.fixture(scope="module")
def every() -> list[Cell]:
    """All cells."""
    return list(cells(describe("lab")))


@pytest.fixture(scope="module")
def verdicts() -> Iterator[dict[str, str]]:
    """What was seen of each cell, by its name; published when all are known. GX10_RESUME goes on after a cut run."""
    resumed = os.environ.get(RESUME) and KEPT.is_file()
    found: dict[str, str] = json.loads(KEPT.read_text(encoding="utf-8")) if resumed else {}
    yield found
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.write_text(json.dumps(found, indent=1), encoding="utf-8")


def batches(of: Iterable[Cell]) -> list[list[Cell]]:
    """Nights in which no two cells touch one topic on one host, and at most one that must come last on its host."""
    nights: list[list[Cell]] = []
    for cell in of:
        for made in nights:
            if not any(other.host == cell.host and in_the_way(cell, other) for other in made):
                made.append(cell)
                break
        else:
            nights.append([cell])
    return nights


def inject(lab: Lab, batch: list[Cell]) -> None:
    """Do everything of a batch, host by host, in few logins; what must come last on its host comes last."""
    for host in sorted({cell.host for cell in batch}):
        scripts = [cell.script for cell in sorted(batch, key=lambda cell: cell.alone) if cell.host == host]
        for place in range(0, len(scripts), PER_CALL):
            injected(lab, host, "\n".join(f"( {script} )" for script in scripts[place : place + PER_CALL]))


def undo(lab: Lab, batch: list[Cell]) -> None:
    """Take back what is only reported."""
    for host in sorted({cell.host for cell in batch if cell.undo}):
        scripts = [cell.undo for cell in batch if cell.undo and cell.host == host]
        lab.run(host, "sh", "-c", "\n".join(f"( {script} )" for script in scripts), check=False)


def about(report: Report, cell: Cell) -> list[OperationReport]:
    """What was said of a cell."""
    return [
        entry
        for entry in report.operations
        if entry.host == cell.host and any(re.search(cell.subject, each.subject) for each in entry.differences)
    ]


def fault(report: Report, cell: Cell, *, acted: bool) -> str:
    """What is wrong with what was said of a cell; nothing when it was found in its class and dealt with accordingly."""
    entries = about(report, cell)
    if not entries:
        return "NOT FOUND"
    rightly = [entry for entry in entries if entry.drift is cell.drift]
    if not rightly:
        return f"class {', '.join(entry.drift for entry in entries)}, expected {cell.drift}"
    if not any(entry.decision is cell.decision for entry in rightly):
        return f"{', '.join(entry.decision for entry in rightly)}, expected {cell.decision}"
    if acted and cell.decision == "put back" and not any(entry.result == "changed" for entry in rightly):
        return f"{', '.join(entry.result for entry in rightly)}, expected changed"
    return ""


def verdict_faults(report: Report, batch: list[Cell]) -> list[str]:
    """What is wrong with the verdict on a whole night.

    What is only told of stays, and may be a thing without which a check of the nodes fails: a mask, or a library in the
    place of a program. Then the night has failed, and says at which check. A supervisor whose unit was taken away is
    killed by its watchdog some time later: that alone may be put right without having been predicted.
    """
    stays = any(cell.undo for cell in batch)
    allowed = {Status.DRIFTED, Status.FAILED} if stays else {Status.HEALED}
    faults = []
    if report.status not in allowed or (report.status is Status.FAILED and not report.reason.startswith("FAILED ")):
        faults.append(f"{report.status}: {report.reason}")
    predicted, applied = pairs(report)
    if not predicted <= applied:
        faults.append(f"predicted and not done: {sorted(predicted - applied)[:3]}")
    later = ("Run the gang's supervisor as described", "Start the engine and wait for its first completion")
    odd = [pair for pair in report.unpredicted if not pair.endswith(later)]
    return faults + [f"not predicted: {pair}" for pair in odd]


def test_a_night_finds_and_deals_with_everything_that_it_can(
    lab: Lab, every: list[Cell], verdicts: dict[str, str]
) -> None:
    nights = batches(cell for cell in every if cell.finder is Finder.NIGHT and cell.key not in verdicts)
    wrong: list[str] = []
    for number, batch in enumerate(nights, 1):
        started = time.monotonic()
        made = None
        try:
            inject(lab, batch)
            made = night(lab)
        except (AssertionError, LabError) as error:
            wrong.append(f"night {number}: {str(error)[-500:]}")
        finally:
            undo(lab, batch)
        if made is None:
            print(wrong[-1], flush=True)
            deployed()
            continue
        for cell in batch:
            said = fault(made.report, cell, acted=True)
            verdicts[cell.key] = said or f"{cell.drift}: {cell.decision}"
            if said:
                wrong.append(f"night {number}: {cell.name}: {said}")
                print(wrong[-1], flush=True)
        wrong += [f"night {number}: {sentence}" for sentence in verdict_faults(made.report, batch)]
        if made.report.status not in (Status.HEALED, Status.DRIFTED):
            deployed()
        seconds = time.monotonic() - started
        print(f"night {number} of {len(nights)}: {len(batch)} cells, {len(wrong)} wrong, {seconds:.0f} s", flush=True)
    quiet = night(lab)
    assert not wrong, "\n".join(wrong)
    assert (quiet.status, quiet.report.operations) == (0, []), quiet.report.left


def test_whoever_deploys_finds_what_keeps_a_night_from_running(
    lab: Lab, every: list[Cell], verdicts: dict[str, str]
) -> None:
    wrong: list[str] = []
    to_find = (cell for cell in every if cell.finder is Finder.OWNER and cell.key not in verdicts)
    for number, batch in enumerate(batches(to_find), 1):
        try:
            inject(lab, batch)
            before = run_names(lab)
            begin(lab, check=False)
            ended(lab)
            # Where the unit itself is masked or gone, nothing runs, and nothing claims anything.
            if run_names(lab) != before and unit(lab).result == "success":
                wrong.append(f"batch {number}: the unit claims success")
            planned = gx10("plan", "--json")
            report = Report.model_validate(json.loads(planned.stdout))
            if planned.returncode != 2:
                wrong.append(f"batch {number}: the plan ended with {planned.returncode}: {report.reason}")
            for cell in batch:
                said = fault(report, cell, acted=False)
                verdicts[cell.key] = said or f"{cell.drift}: found by {Finder.OWNER}"
                if said:
                    wrong.append(f"batch {number}: {cell.name}: {said}")
                    print(wrong[-1], flush=True)
        finally:
            undo(lab, batch)
            deployed()
        print(f"batch {number}: {len(batch)} cells, {len(wrong)} wrong")
    quiet = night(lab)
    assert not wrong, "\n".join(wrong)
    assert (quiet.status, quiet.report.operations) == (0, []), quiet.report.left


def test_the_table_is_published(every: list[Cell], verdicts: dict[str, str]) -> None:
    if not {cell.key for cell in every} <= set(verdicts):
        pytest.fail(f"{len(every) - len(verdicts)} cells were not run: run the whole file")
    TABLE.write_text(published(every, verdicts), encoding="utf-8")


def published(every: list[Cell], verdicts: dict[str, str]) -> str:
    """The table, a row for each object and way; files of the reconciler's copy are counted in one row for each way."""
    found = sum(not verdicts[cell.key].startswith(("NOT", "class")) for cell in every)
    lines = [
        "# Every object in every way",
        "",
        "Written by `make night` on the lab. For each object that the deploy puts on a host, what was done to it on",
        "one of the hosts that have it, and what was made of it: by the installed night itself, or, where that cannot",
        "run or log in any more, by `gx10 plan` where one deploys from; its unit had failed then, which is told.",
        "",
        f"**{len(every)} cells, {found} found: {100 * found / len(every):.0f} %.**",
        "",
        "| object | way | verdict |",
        "| --- | --- | --- |",
    ]
    counted: dict[tuple[str, str], int] = {}
    for cell in every:
        way = f"{cell.how}{f', {cell.where}' if cell.where else ''}"
        if cell.what.name.startswith("/opt/gx10/project/"):
            counted[way, verdicts[cell.key]] = counted.get((way, verdicts[cell.key]), 0) + 1
        else:
            name = cell.what.name.replace("|", "\\|")
            lines.append(f"| {cell.what.kind} `{name}` | {way} | {verdicts[cell.key]} |")
    lines += [
        f"| {count} files of the reconciler's copy of the project | {way} | {verdict} |"
        for (way, verdict), count in counted.items()
    ]
    lines += ["", "What is not done to a kind of object, and why:", ""]
    lines += [f"- {how} of a {kind}: {reason}." for (kind, how), reason in NOT_DONE.items()]
    return "\n".join(lines) + "\n"

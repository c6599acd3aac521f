"""Reports of earlier runs: kept, listed, compared."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gx10_host.write.whole import write_whole

from .report import Report

RUN_NAME = re.compile(r"^\d{8}T\d{6}Z-\d+$")
REPORT_FILE, SUMMARY_FILE = "report.json", "last_run_summary.json"
INVOCATION_FILE = "invocation"
"""Holds which start of a unit made a run, as systemd names it; empty where none did."""
HOOK_FILE = "hook-was-told"
"""Stands in the directory of a run whose report the owner's hook has taken."""


@dataclass(frozen=True)
class History:
    """The runs of one cluster on this node."""

    root: Path

    @property
    def runs(self) -> Path:
        """One directory a run."""
        return self.root / "runs"

    def begin(self, now: datetime) -> Path:
        """A directory for a new run, named by when it starts."""
        directory = self.runs / f"{now:%Y%m%dT%H%M%SZ}-{os.getpid()}"
        directory.mkdir(parents=True)
        (directory / INVOCATION_FILE).write_text(os.environ.get("INVOCATION_ID", ""), encoding="ascii")
        return directory

    def names(self) -> list[str]:
        """Names of all runs, the latest first."""
        if not self.runs.is_dir():
            return []
        return sorted((path.name for path in self.runs.iterdir() if RUN_NAME.match(path.name)), reverse=True)

    def report(self, name: str) -> Report:
        """The report of a run, by its name, the beginning of one, or `-1` for the latest, `-2` for the one before."""
        names = self.names()
        if re.fullmatch(r"-\d+", name):
            place = int(name[1:]) - 1
            found = names[place : place + 1]
        else:
            found = [one for one in names if one.startswith(name)]
        if len(found) != 1:
            raise LookupError(
                f"{name} names {len(found) or 'no'} {'runs' if found else 'run'}; `gx10 history` lists them"
            )
        return Report.read(self.runs / found[0] / REPORT_FILE)

    def reports(self, count: int | None = None) -> Iterator[Report]:
        """Reports, the latest first; one that cannot be read is passed over."""
        for name in self.names()[:count]:
            try:
                yield Report.read(self.runs / name / REPORT_FILE)
            except (OSError, ValueError):
                continue

    def untold(self, cluster: str) -> list[Report]:
        """Reports of reconciliations that the owner's hook has not taken since the last one that it took, the oldest
        first. A run that died before its report was written is told as a failed one."""
        found: list[Report] = []
        for name in self.names():
            if self.hook_was_told(name):
                break
            found.append(self._of(name, cluster))
        return [report for report in reversed(found) if report.mode == "reconcile"]

    def made_by(self, invocation: str) -> bool:
        """Whether a start of a unit, by systemd's name for it, came as far as to begin a run."""
        return any(
            path.read_text(encoding="ascii", errors="replace") == invocation
            for path in self.runs.glob(f"*/{INVOCATION_FILE}")
        )

    def _of(self, name: str, cluster: str) -> Report:
        try:
            return Report.read(self.runs / name / REPORT_FILE)
        except (OSError, ValueError) as error:
            reason = f"the run left no report that can be read: {error}"
            return Report(run=name, cluster=cluster, mode="reconcile", started=_began(name), reason=reason)

    def hook_was_told(self, run: str) -> bool:
        """Whether the owner's hook has taken the report of a run."""
        return (self.runs / run / HOOK_FILE).exists()

    def note_hook(self, run: str) -> None:
        """Note that it has."""
        (self.runs / run / HOOK_FILE).touch()

    def keep(self, report: Report, runs: int) -> None:
        """Write the summary of the last run, and drop the oldest runs beyond those that are kept."""
        kept = {"run", "cluster", "mode", "status", "exit_status", "reason", "started", "finished", "restart_pending"}
        summary = f"{report.model_dump_json(include=kept, indent=1)}\n"
        write_whole(self.root / SUMMARY_FILE, summary.encode(), mode=0o640)
        for name in self.names()[runs:]:
            # Never the run at work, however old a clock that was once ahead makes it look.
            if name != report.run:
                shutil.rmtree(self.runs / name, ignore_errors=True)


def _began(name: str) -> datetime:
    """When a run began, by its name; now where that says no time."""
    try:
        return datetime.strptime(name.partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return datetime.now(UTC)


def compared(before: Report, after: Report) -> list[str]:
    """What changed from one report to another, a line each."""
    lines = []
    for field in ("status", "revision", "description", "generation_after", "restart_pending"):
        old, new = getattr(before, field), getattr(after, field)
        if old != new:
            lines.append(f"{field}: {old or 'none'} -> {new or 'none'}")
    for host in sorted({*before.hosts, *after.hosts}):
        old, new = (report.hosts.get(host) for report in (before, after))
        old_reach, new_reach = (one.reachable if one else None for one in (old, new))
        if old_reach != new_reach:
            lines.append(f"{host}: reachable {old_reach} -> {new_reach}")
    found = [_differences(report) for report in (before, after)]
    lines += [f"- {line}" for line in sorted(found[0] - found[1])]
    lines += [f"+ {line}" for line in sorted(found[1] - found[0])]
    return lines


def _differences(report: Report) -> set[str]:
    return {
        f"{one.host}: {one.name}: {difference.subject} is {difference.found or 'different'}"
        f"{f', described {difference.described}' if difference.described else ''} ({one.decision})"
        for one in report.operations
        for difference in one.differences
    }

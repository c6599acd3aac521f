"""Reports of earlier runs: kept, listed, compared."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .report import Report, write_whole

RUN_NAME = re.compile(r"^\d{8}T\d{6}Z-\d+$")
REPORT_FILE, SUMMARY_FILE = "report.json", "last_run_summary.json"
HOOK_FILE = "hook-was-told"
"""Stands in the directory of a run whose report the owner's hook has taken."""


def state_directory(cluster: str) -> Path:
    """Where this node keeps what it knows of a cluster: `$GX10_STATE`, or below the user's own state directory."""
    if named := os.environ.get("GX10_STATE"):
        root = Path(named)
    else:
        root = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "gx10"
    directory = root / cluster
    directory.mkdir(parents=True, exist_ok=True)
    return directory


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

    def latest(self, cluster: str) -> Report:
        """The report of the latest run; one that died before its report was written is told as a failed one."""
        names = self.names()
        if not names:
            raise LookupError("no run has been made here; `gx10 history` lists them")
        try:
            return Report.read(self.runs / names[0] / REPORT_FILE)
        except (OSError, ValueError) as error:
            started = datetime.strptime(names[0].partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            reason = f"the run left no report that can be read: {error}"
            return Report(run=names[0], cluster=cluster, mode="reconcile", started=started, reason=reason)

    def hook_was_told(self, run: str) -> bool:
        """Whether the owner's hook has taken the report of a run."""
        return (self.runs / run / HOOK_FILE).exists()

    def note_hook(self, run: str) -> None:
        """Note that it has."""
        (self.runs / run / HOOK_FILE).touch()

    def keep(self, report: Report, runs: int) -> None:
        """Write the summary of the last run, and drop the oldest runs beyond those that are kept."""
        kept = {"run", "cluster", "mode", "status", "exit_status", "reason", "started", "finished", "restart_pending"}
        write_whole(self.root / SUMMARY_FILE, report.model_dump_json(include=kept, indent=1) + "\n")
        for name in self.names()[runs:]:
            shutil.rmtree(self.runs / name, ignore_errors=True)


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

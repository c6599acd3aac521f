"""A report in words, for a terminal and for the journal of the unit."""

from __future__ import annotations

from gx10.drift.classify import Decision
from gx10.drift.verdict import Status

from .report import OperationReport, Report

ORDER = (
    Decision.PUT_BACK,
    Decision.RESTART,
    Decision.PUT_OFF,
    Decision.HANDS_OFF,
    Decision.REPORT,
)


def in_words(report: Report) -> str:
    """The report as lines: the verdict, what differs by what became of it, and the state of the engine."""
    because = f": {report.reason}" if report.reason else ""
    lines = [f"{report.cluster}: {report.status}{because}"]
    for host, seen in report.hosts.items():
        if seen.reachable is False and seen.reason not in report.reason:
            lines.append(f"  {host} does not answer: {seen.reason}")
        if seen.reboot_pending:
            lines.append(f"  {host} waits for a reboot")
    for decision in ORDER:
        operations = [operation for operation in report.operations if operation.decision is decision]
        if operations:
            lines.append(f"{_heading(decision, report)}:")
            lines += [line for operation in operations for line in _lines(operation)]
    lines += [f"ignored on {ignored.host}: {ignored.subject} ({ignored.reason})" for ignored in report.ignored]
    lines += [f"not as predicted: {pair}" for pair in report.unpredicted]
    lines += [f"comes back every night: {key}" for key in report.flapping]
    if report.suspended_until and report.status is not Status.SUSPENDED:
        until = f"{report.suspended_until:%Y-%m-%d %H:%M %Z}"
        lines.append(f"suspended until {until}: {report.suspended_reason}")
    if report.health_after.told:
        lines.append(f"engine: {report.health_after.told}")
    steps = ", ".join(f"{step.name} {step.seconds:.1f} s" for step in report.steps)
    lines.append(f"run {report.run}: {steps or 'no step was begun'}")
    return "\n".join(lines)


def _heading(decision: Decision, report: Report) -> str:
    if report.mode == "plan":
        return {
            Decision.PUT_BACK: "would be put back",
            Decision.RESTART: "would be put back with a restart of the gang, once no request runs",
            Decision.PUT_OFF: "would be put off",
            Decision.HANDS_OFF: "would be left alone",
            Decision.REPORT: "to be looked at",
        }[decision]
    return {
        Decision.PUT_BACK: "put back",
        Decision.RESTART: "put back with a restart of the gang",
        Decision.PUT_OFF: "put off",
        Decision.HANDS_OFF: "left alone",
        Decision.REPORT: "to be looked at",
    }[decision]


def _lines(operation: OperationReport) -> list[str]:
    because = f"; {operation.reason}" if operation.reason else ""
    who = "touched on the host" if operation.corrective else "described anew"
    failed = ", FAILED" if operation.result == "failed" else ""
    lines = [f"  {operation.host}: {operation.name} ({operation.drift}, {who}{because}{failed})"]
    for difference in operation.differences:
        described = f", described {difference.described}" if difference.described else ""
        lines.append(f"    {difference.subject}: {difference.found or 'differs'}{described}")
    return lines

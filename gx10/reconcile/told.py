"""A report in words, for a terminal and for the journal of the unit."""

from __future__ import annotations

from gx10.drift.classify import Decision

from .report import OperationReport, Report

ORDER = (
    Decision.PUT_BACK,
    Decision.RESTART,
    Decision.PUT_OFF,
    Decision.HANDS_OFF,
    Decision.REPORT,
)


def told(report: Report) -> str:
    """The report as lines: the verdict, what differs by what became of it, and the state of the engine."""
    because = f": {report.reason}" if report.reason else ""
    lines = [f"{report.cluster}: {report.status}{because}"]
    for host, one in report.hosts.items():
        if one.reachable is False:
            lines.append(f"  {host} does not answer: {one.reason}")
        if one.reboot_pending:
            lines.append(f"  {host} waits for a reboot")
    for decision in ORDER:
        found = [one for one in report.operations if one.decision is decision]
        if found:
            lines.append(f"{_heading(decision, report)}:")
            lines += [line for one in found for line in _lines(one)]
    lines += [f"ignored on {one.host}: {one.subject} ({one.reason})" for one in report.ignored]
    lines += [f"not as predicted: {pair}" for pair in report.unpredicted]
    lines += [f"comes back every night: {key}" for key in report.flapping]
    if report.suspended_until:
        until = f"{report.suspended_until:%Y-%m-%d %H:%M %Z}"
        lines.append(f"suspended until {until}: {report.suspended_reason}")
    if report.health_after.told:
        lines.append(f"engine: {report.health_after.told}")
    lines.append(f"run {report.run}: " + ", ".join(f"{step.name} {step.seconds:.1f} s" for step in report.steps))
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


def _lines(one: OperationReport) -> list[str]:
    because = f"; {one.reason}" if one.reason else ""
    who = "touched on the host" if one.corrective else "described anew"
    failed = ", FAILED" if one.result == "failed" else ""
    lines = [f"  {one.host}: {one.name} ({one.drift}, {who}{because}{failed})"]
    for difference in one.differences:
        described = f", described {difference.described}" if difference.described else ""
        lines.append(f"    {difference.subject}: {difference.found or 'differs'}{described}")
    return lines

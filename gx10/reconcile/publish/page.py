"""The last runs on one page of HTML: nothing is fetched, no script runs, light and dark, readable on a phone."""

from __future__ import annotations

import html
from collections.abc import Iterable
from datetime import datetime

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

STYLE = """
:root { color-scheme: light dark; --bg: #fbfbfa; --fg: #1c1c1a; --dim: #62625c; --line: #dcdcd6; --card: #ffffff;
  --good: #17663a; --warn: #8a5200; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --bg: #161615; --fg: #ecece8; --dim: #a3a39b; --line: #3a3a36;
  --card: #1f1f1d; --good: #7ed6a0; --warn: #f0b35e; --bad: #ff9a8f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 64rem; background: var(--bg); color: var(--fg);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; margin: 0.5rem 0; } h2 { font-size: 1.1rem; margin: 1.5rem 0 0.5rem; }
p { margin: 0.25rem 0; } .dim, time, dt { color: var(--dim); }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); }
.strip { display: flex; gap: 3px; margin: 1rem 0; } .strip a { flex: 1 1 0; min-width: 4px; max-width: 2rem;
  height: 2rem; border-radius: 3px; background: currentColor; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.15rem 1rem; margin: 0.5rem 0; } dd { margin: 0; }
details { background: var(--card); border: 1px solid var(--line); border-radius: 6px; margin: 0.4rem 0; }
summary { padding: 0.5rem 0.75rem; cursor: pointer; display: flex; flex-wrap: wrap; gap: 0 1rem; }
summary strong { min-width: 5.5rem; } details > div { padding: 0 0.75rem 0.75rem; border-top: 1px solid var(--line); }
ul { margin: 0.25rem 0; padding-left: 1.2rem; } code { font-size: 0.9em; }
"""


def page(cluster: str, reports: Iterable[Report]) -> str:
    """The page of a cluster's runs, the latest first."""
    runs = list(reports)
    name = html.escape(cluster)
    latest = _latest(runs[0]) if runs else "<p>No run yet.</p>"
    strip = "".join(
        f'<a class="{TONES[run.status]}" href="#{html.escape(run.run)}" title="{_moment(run.started)} {run.status}"'
        f' aria-label="{_moment(run.started)} {run.status}"></a>'
        for run in reversed(runs)
    )
    return (
        "<!DOCTYPE html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><title>{name}: drift</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><style>{STYLE}</style></head>\n<body><main>\n'
        f"<h1>Cluster {name}</h1>\n{latest}\n"
        f'<nav class="strip" aria-label="Runs, the oldest first">{strip}</nav>\n'
        f"<h2>Runs</h2>\n{''.join(_run(run, opened=place == 0) for place, run in enumerate(runs))}"
        "</main></body></html>\n"
    )


def _latest(run: Report) -> str:
    pending = f"since {_moment(run.restart_pending_since)}" if run.restart_pending_since else "yes"
    rows = {
        "Last run": f"<time>{_moment(run.finished or run.started)}</time>",
        "Hosts": ", ".join(_host(name, told.reachable) for name, told in run.hosts.items()),
        "Engine": html.escape(run.health_after.told or run.health_before.told or "not asked"),
        "Restart": pending if run.restart_pending else "none pending",
        "Generation": f"<code>{html.escape(run.generation_after or run.generation_before or 'unknown')}</code>",
    }
    if run.suspended_until:
        rows["Suspended"] = f"until {_moment(run.suspended_until)}: {html.escape(run.suspended_reason)}"
    told = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows.items())
    return f'<p class="{TONES[run.status]}"><strong>{run.status}</strong> {html.escape(run.reason)}</p><dl>{told}</dl>'


def _host(name: str, reachable: bool | None) -> str:
    tone = {True: "good", False: "bad", None: "dim"}[reachable]
    word = {True: "", False: " (silent)", None: " (not asked)"}[reachable]
    return f'<span class="{tone}">{html.escape(name)}{word}</span>'


def _run(run: Report, *, opened: bool) -> str:
    seconds = f"{(run.finished - run.started).total_seconds():.1f} s" if run.finished else "did not end"
    found = sum(max(1, len(one.differences)) for one in run.operations)
    inside = "".join(_operation(one) for one in run.operations) or '<p class="dim">Nothing differed.</p>'
    ignored = "".join(
        f'<p class="dim">Ignored on {html.escape(one.host)}: {html.escape(one.subject)} ({html.escape(one.reason)})</p>'
        for one in run.ignored
    )
    moved = "".join(
        f'<p class="dim">{html.escape(name)} received {html.escape(one.what)}: {one.bytes / 1e6:.0f} MB in '
        f"{one.seconds:.1f} s, {one.bytes / 1e6 / max(one.seconds, 0.01):.0f} MB/s</p>"
        for name, told in run.hosts.items()
        for one in told.transfers
    )
    steps = ", ".join(f"{html.escape(step.name)} {step.seconds:.1f} s" for step in run.steps)
    return (
        f'<details id="{html.escape(run.run)}"{" open" if opened else ""}><summary>'
        f'<strong class="{TONES[run.status]}">{run.status}</strong><time>{_moment(run.started)}</time>'
        f"<span>{run.mode}</span><span>{found} found, {len(run.left)} left</span><span>{seconds}</span></summary>"
        f"<div><p>{html.escape(run.reason)}</p>{inside}{moved}{ignored}"
        f'<p class="dim">{steps}. Revision {html.escape(run.revision or "none")}, '
        f"description <code>{html.escape(run.description)}</code>.</p></div></details>\n"
    )


def _operation(one: OperationReport) -> str:
    good = one.decision in (Decision.PUT_BACK, Decision.RESTART) and one.result == "changed"
    tone = "bad" if one.result == "failed" else "good" if good else "warn"
    reason = f" {html.escape(one.reason)}" if one.reason else ""
    rows = "".join(
        f"<li><code>{html.escape(told.subject)}</code> {html.escape(told.found)}"
        f"{', described ' + html.escape(told.described) if told.described else ''}</li>"
        for told in one.differences
    )
    failed = ", failed" if one.result == "failed" else ""
    who = "touched on the host" if one.corrective else "described anew"
    return (
        f'<p><span class="{tone}">{one.decision}{failed}</span> on {html.escape(one.host)}: {html.escape(one.name)} '
        f'<span class="dim">({one.drift}, {who}){reason}</span></p><ul>{rows}</ul>'
    )


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} {moment.tzname()}" if moment else ""

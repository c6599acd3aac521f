"""What Prometheus learns of a run, in a file that node_exporter reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily

from gx10.drift.classes import Drift
from gx10.drift.classify import Decision
from gx10.drift.verdict import Status

from ..report import Report

FILE = "gx10_reconcile.prom"
CLASSES = tuple(drift for drift in Drift if drift is not Drift.GANG)

HELP = {
    "gx10_last_run_timestamp_seconds": "When the last run ended, or began if it did not.",
    "gx10_last_success_timestamp_seconds": "When a run last found the cluster in sync, or left it so.",
    "gx10_run_status": "1 for the status of the last run.",
    "gx10_run_info": "Revision and digest of the description of the last run.",
    "gx10_run_duration_seconds": "How long the last run took.",
    "gx10_drift_items": "Differences that the last run found and did not put back.",
    "gx10_found_items": "Differences that the last run found.",
    "gx10_applied_items": "Differences that the last run put back.",
    "gx10_failed_items": "Differences that the last run tried to put back and could not.",
    "gx10_flapping_items": "Differences that come back night after night and are left alone.",
    "gx10_ignored_items": "Differences that an ignore rule names.",
    "gx10_host_reachable": "Whether the last run reached a host.",
    "gx10_reboot_pending": "Whether a host waits for a reboot.",
    "gx10_transfer_bytes_per_second": "Rate of the slowest transfer to a host in the last run.",
    "gx10_restart_pending": "Whether a restart of the gang is due and was put off.",
    "gx10_restart_pending_since_timestamp_seconds": "Since when a restart has been put off; 0 when none is.",
    "gx10_suspended": "Whether the reconciler is suspended.",
    "gx10_lock_held": "Whether the last run found the lock held by somebody else.",
    "gx10_canary_ok": "Whether the engine answered a completion in the last run that asked for one.",
    "gx10_canary_seconds": "How long that completion took.",
}


def metrics(report: Report, last_success: datetime | None) -> str:
    """The text of the file. Labels are hosts, classes and statuses only, so that their number is bounded."""
    # Families of this run's own: the client's registry is for a process that is asked, and has this process's numbers.
    families: dict[str, GaugeMetricFamily] = {}
    for name, labels, value in _samples(report, last_success):
        named = {"cluster": report.cluster, **labels}
        family = families.setdefault(name, GaugeMetricFamily(name, HELP[name], labels=list(named)))
        family.add_metric(list(named.values()), value)
    return generate_latest(_Families([families[name] for name in HELP if name in families])).decode()


class _Families:
    """What the client writes down, in this order."""

    def __init__(self, families: list[GaugeMetricFamily]) -> None:
        self.families = families

    def collect(self) -> list[GaugeMetricFamily]:
        """Every family, as the client asks for them."""
        return self.families


def _samples(report: Report, last_success: datetime | None) -> Iterator[tuple[str, dict[str, str], float]]:
    ended = report.finished or report.started
    yield "gx10_last_run_timestamp_seconds", {}, ended.timestamp()
    yield "gx10_last_success_timestamp_seconds", {}, last_success.timestamp() if last_success else 0
    for status in Status:
        yield "gx10_run_status", {"status": status.value}, float(report.status is status)
    yield "gx10_run_info", {"revision": report.revision or "none", "description": report.description or "none"}, 1
    yield "gx10_run_duration_seconds", {}, (ended - report.started).total_seconds()
    found: Counter[tuple[str, Drift]] = Counter()
    left: Counter[tuple[str, Drift]] = Counter()
    applied: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for one in report.operations:
        count = max(1, len(one.differences))
        found[one.host, one.drift] += count
        applied[one.host] += count if one.result == "changed" else 0
        failed[one.host] += count if one.result == "failed" else 0
        if one.decision in (Decision.PUT_OFF, Decision.REPORT, Decision.HANDS_OFF) or one.result in (
            "failed",
            "skipped",
        ):
            left[one.host, one.drift] += count
    for host, told in report.hosts.items():
        for drift in CLASSES:
            yield "gx10_found_items", {"host": host, "class": drift.value}, found[host, drift]
            yield "gx10_drift_items", {"host": host, "class": drift.value}, left[host, drift]
        yield "gx10_applied_items", {"host": host}, applied[host]
        yield "gx10_failed_items", {"host": host}, failed[host]
        yield "gx10_host_reachable", {"host": host}, float(bool(told.reachable))
        yield "gx10_reboot_pending", {"host": host}, float(told.reboot_pending)
        if told.transfers:
            slowest = min(one.bytes / max(one.seconds, 0.01) for one in told.transfers)
            yield "gx10_transfer_bytes_per_second", {"host": host}, slowest
    yield "gx10_flapping_items", {}, len(report.flapping)
    yield "gx10_ignored_items", {}, len(report.ignored)
    yield "gx10_restart_pending", {}, float(report.restart_pending)
    since = report.restart_pending_since if report.restart_pending else None
    yield "gx10_restart_pending_since_timestamp_seconds", {}, since.timestamp() if since else 0
    yield "gx10_suspended", {}, float(report.suspended_until is not None)
    yield "gx10_lock_held", {}, float(bool(report.lock_holder))
    if report.health_after.completion is not None or report.health_after.serving is False:
        yield "gx10_canary_ok", {}, float(bool(report.health_after.completion))
        yield "gx10_canary_seconds", {}, report.health_after.completion_seconds

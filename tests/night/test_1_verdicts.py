"""Every verdict of a night, through the installed unit: report, exit status, metrics, and what its hook is told."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from gx10.access.lock import hold_on_head
from gx10.described import watch_files
from gx10.described.description import describe
from gx10.drift.classes import Drift
from gx10.drift.verdict import Status
from gx10.lab.lab import Lab

from ..drift.injections import FILES, UNITS_AND_LIVE
from ..drift.nights import inject, pairs
from ..lab.deployment import HOSTS, gx10
from .installed import (
    HEAD,
    HOOK_LOG,
    STATE,
    begin,
    commands,
    ended,
    fingerprint_of,
    hook_lines,
    injected,
    night,
    prometheus,
    report,
    run_names,
    step_begun,
    unit,
    until,
)

pytestmark = pytest.mark.lab

MOST_EXPOSED = 2.0
"""Of 10, by `systemd-analyze security`; sshd has 9.6."""


def said_by_hook(lab: Lab, run: str) -> list[str]:
    """Statuses that the hook was told of a run."""
    return [status for status, document in hook_lines(lab) if document["run"] == run]


def test_a_quiet_night_is_in_sync_and_everybody_is_told(lab: Lab) -> None:
    made = night(lab)
    assert (made.status, made.report.status, made.report.operations) == (0, Status.IN_SYNC, []), made.report
    assert made.report.health_after.completion
    samples = prometheus(lab)
    assert samples['gx10_run_status{cluster="lab",status="in sync"}'] == 1
    assert samples['gx10_canary_ok{cluster="lab"}'] == 1
    assert said_by_hook(lab, made.report.run) == ["in sync"]
    page = lab.run(HEAD, "cat", f"{STATE}/index.html").stdout
    assert made.report.run in page


def test_the_unit_is_hardened_where_it_runs(lab: Lab) -> None:
    shown = lab.run(HEAD, "systemd-analyze", "security", "--no-pager", watch_files.SERVICE).stdout
    found = re.search(r"exposure level for \S+: ([0-9.]+)", shown)
    assert found
    assert float(found[1]) <= MOST_EXPOSED


def test_the_host_has_only_what_the_deploy_brings(lab: Lab) -> None:
    for name in ("git", "pip", "pip3", "gcc", "cc", "make", "uv"):
        done = lab.run(HEAD, "sh", "-c", f"command -v {name}", check=False)
        assert done.returncode, f"{name} is installed on the head: the night is not shown to do without it"


def test_a_night_puts_back_checks_every_node_and_the_next_finds_nothing(lab: Lab) -> None:
    injections = ((FILES[0], HOSTS[1]), (FILES[4], HOSTS[2]), (UNITS_AND_LIVE[2], HOSTS[3]), (FILES[1], HEAD))
    for injection, host in injections:
        inject(lab, injection, host)
    made = night(lab)
    assert (made.status, made.report.status) == (0, Status.HEALED), made.report.reason
    for injection, host in injections:
        assert {entry.result for entry in made.about(injection, host)} == {"changed"}, injection.name
    predicted, applied = pairs(made.report)
    assert (predicted, made.report.unpredicted) == (applied, [])
    assert made.report.steps[-1].name == "prove"
    assert made.report.health_after.completion
    assert said_by_hook(lab, made.report.run) == ["healed"]
    quiet = night(lab)
    assert (quiet.status, quiet.report.operations) == (0, []), quiet.report.left


def test_what_is_only_reported_is_drift_with_status_2_and_no_failure_of_the_unit(lab: Lab) -> None:
    injected(lab, HOSTS[2], "touch /etc/gx10/mine.conf")
    try:
        made = night(lab)
    finally:
        injected(lab, HOSTS[2], "rm /etc/gx10/mine.conf")
    assert (made.status, made.report.status) == (2, Status.DRIFTED), made.report.reason
    assert unit(lab).result == "success"
    assert prometheus(lab)[f'gx10_drift_items{{class="report",cluster="lab",host="{HOSTS[2]}"}}'] == 1
    assert said_by_hook(lab, made.report.run) == ["drifted"]


def test_a_host_that_is_off_is_unknown_the_unit_fails_and_its_word_comes_once(lab: Lab) -> None:
    before = {host: fingerprint_of(lab, ["/etc/gx10"], host) for host in HOSTS[:2]}
    lab.cut(HOSTS[2], "management")
    try:
        made = night(lab)
    finally:
        lab.mend(HOSTS[2])
    assert (made.status, made.report.status) == (1, Status.UNKNOWN)
    assert made.report.hosts[HOSTS[2]].reachable is False
    assert unit(lab).result == "exit-code"
    assert unit(lab, watch_files.FAILED).result == "success"
    assert said_by_hook(lab, made.report.run) == ["unknown"]
    samples = prometheus(lab)
    assert samples[f'gx10_host_reachable{{cluster="lab",host="{HOSTS[2]}"}}'] == 0
    assert samples['gx10_run_status{cluster="lab",status="unknown"}'] == 1
    assert {host: fingerprint_of(lab, ["/etc/gx10"], host) for host in HOSTS[:2]} == before


def test_a_lock_that_somebody_holds_is_75_and_says_who(lab: Lab) -> None:
    keeper, _ = hold_on_head(describe("lab"), "a test of the lock", 600)
    try:
        made = night(lab)
    finally:
        keeper.release()
    assert (made.status, made.report.status) == (75, Status.LOCKED)
    assert "a test of the lock" in made.report.lock_holder
    assert unit(lab).result == "success"
    assert prometheus(lab)['gx10_lock_held{cluster="lab"}'] == 1


def test_a_suspended_cluster_is_left_alone_with_status_0(lab: Lab) -> None:
    status, said = commands(lab, '/opt/gx10/bin/gx10 suspend "swapping a disk" --until 1h')
    assert status == 0, said
    try:
        injected(lab, HOSTS[1], "rm /etc/gx10/share.conf")
        made = night(lab)
        assert lab.run(HOSTS[1], "test", "-e", "/etc/gx10/share.conf", check=False).returncode
    finally:
        assert commands(lab, "/opt/gx10/bin/gx10 resume")[0] == 0
    assert (made.status, made.report.status) == (0, Status.SUSPENDED)
    assert made.report.suspended_reason == "swapping a disk"
    assert said_by_hook(lab, made.report.run) == ["suspended"]
    assert night(lab).report.status is Status.HEALED


def test_a_description_that_is_refused_is_told_though_no_run_begins(lab: Lab) -> None:
    # An edited copy of the description is put back before it is read; what the unit itself names is not.
    directory = f"/etc/systemd/system/{watch_files.SERVICE}.d"
    other = shlex.quote("[Service]\nEnvironment=GX10_CLUSTER=gone\n")
    before = run_names(lab)
    injected(
        lab,
        HEAD,
        f"mkdir {directory}; printf {other} > {directory}/other.conf; systemctl daemon-reload; rm -f {HOOK_LOG}",
    )
    try:
        begin(lab)
        ended(lab)
    finally:
        injected(lab, HEAD, f"rm -r {directory}; systemctl daemon-reload")
    assert (unit(lab).status, unit(lab).result) == (64, "exit-code")
    assert run_names(lab) == before
    ((status, document),) = hook_lines(lab)
    assert (status, document["status"]) == ("failed", "failed")
    assert "journalctl -u gx10-reconcile" in str(document["reason"])
    assert night(lab).status == 0


@pytest.mark.parametrize("number", ["TERM", "KILL"])
def test_a_night_that_is_killed_is_told_lets_go_of_the_lock_and_the_next_one_finishes(lab: Lab, number: str) -> None:
    injected(lab, HOSTS[1], "echo '# by hand' >> /etc/sysctl.d/90-gx10.conf")

    def kill() -> None:
        until(lambda: step_begun(lab, "apply"), "the run begins to put back", 60)
        lab.run(HEAD, "systemctl", "kill", "--kill-whom=main", f"--signal={number}", watch_files.SERVICE)

    made = night(lab, kill)
    assert made.report.status is Status.FAILED
    assert made.status == (143 if number == "TERM" else 9)
    assert made.report.reason == ("interrupted by SIGTERM" if number == "TERM" else "the run has not come to its end")
    assert said_by_hook(lab, made.report.run) == ["failed"]
    assert prometheus(lab)['gx10_run_status{cluster="lab",status="failed"}'] == 1
    assert gx10("plan").returncode in (0, 2), "the lock is still held"
    following = night(lab)
    assert (following.status, following.report.left) == (0, []), following.report.reason
    assert night(lab).report.status is Status.IN_SYNC


def test_a_run_that_dies_before_its_report_is_there_is_told_as_well(lab: Lab) -> None:
    injected(lab, HEAD, f"rm -f {HOOK_LOG}; install -d -o {watch_files.USER} {STATE}/runs/29990101T000000Z-1")
    try:
        lab.run(HEAD, "systemctl", "start", watch_files.FAILED)
        ((status, document),) = hook_lines(lab)
    finally:
        injected(lab, HEAD, f"rm -r {STATE}/runs/29990101T000000Z-1")
    assert status == "failed"
    assert "left no report" in str(document["reason"])


def test_an_engine_that_gives_no_completion_is_put_right_and_proven(lab: Lab) -> None:
    assert gx10("stop").returncode == 0
    made = night(lab)
    assert (made.status, made.report.status) == (0, Status.HEALED), made.report.reason
    assert {entry.drift for entry in made.report.operations} == {Drift.HEAL}
    assert made.report.health_after.completion


def test_reports_are_what_the_schema_says_and_nothing_in_them_is_a_secret(lab: Lab) -> None:
    for name in run_names(lab)[-3:]:
        assert report(lab, name).cluster == "lab"
    mode = lab.run(HEAD, "stat", "-c", "%a %U", f"{STATE}/last_run_summary.json").stdout.split()
    assert mode == ["640", watch_files.USER]
    assert json.loads(lab.run(HEAD, "cat", f"{STATE}/last_run_summary.json").stdout)["run"] == run_names(lab)[-1]

"""What needs a restart: put off while a request runs, done whole when none does, and never half after a kill."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gx10.described.description import describe
from gx10.drift.classes import Drift
from gx10.drift.verdict import Status
from gx10.lab.lab import Lab

from ..lab.deployment import HOSTS, PROJECT, deploy, gx10
from ..lab.fingerprint import fingerprint
from .conftest import SEED
from .nights import killed_at, pairs, run

pytestmark = pytest.mark.lab

CLUSTER = PROJECT / "clusters/lab.yaml"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
LONG_TOKENS = 2000


@pytest.fixture
def moved() -> Iterator[None]:
    """A description that asks for another environment of Ray: a restart is due."""
    text = CLUSTER.read_text()
    CLUSTER.write_text(text.replace("ray:\n", "ray:\n  environment: {DRIFT_TEST: moved}\n", 1))
    try:
        yield
    finally:
        CLUSTER.write_text(text)


def long_request(lab: Lab) -> subprocess.Popen[str]:
    """A completion of many tokens, asked for on the head."""
    described = describe("lab")
    body = {"model": described.served_name, "prompt": "Go on.", "max_tokens": LONG_TOKENS, "ignore_eos": True}
    told = shlex.quote(json.dumps(body))
    words = (
        f"curl -sS --max-time 600 -H 'Content-Type: application/json' -d {told} {described.local_url}/v1/completions"
    )
    return subprocess.Popen(
        ["ssh", "-F", str(lab.ssh_config), HOSTS[0], words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_request_that_runs_is_answered_in_full_and_the_restart_waits(lab: Lab, state: Path, moved: None) -> None:
    with long_request(lab) as request:
        night = run(state, "reconcile", "--no-checks", "--no-sample")
        still_ran = request.poll() is None
        output, errors = request.communicate(timeout=600)
    assert still_ran, "the request ended before the night: ask for more tokens"
    assert json.loads(output)["usage"]["completion_tokens"] == LONG_TOKENS, errors
    assert (night.status, night.report.status) == (2, Status.DRIFTED)
    assert night.report.restart_pending
    assert not night.report.restarted
    assert {one.decision for one in night.report.operations if one.drift is Drift.RESTART} == {"put off"}
    assert all(not one.corrective for one in night.report.operations)
    after = run(state, "reconcile", "--no-checks", "--no-sample")
    assert (after.status, after.report.status) == (0, Status.HEALED), after.report
    assert (after.report.restarted, after.report.restart_pending) == (True, False)
    predicted, applied = pairs(after.report)
    assert (predicted, after.report.unpredicted) == (applied, [])
    assert after.report.generation_before != after.report.generation_after


def test_one_host_off_is_unknown_and_nothing_is_done(lab: Lab, state: Path, moved: None) -> None:
    before = {host: fingerprint(lab, host) for host in HOSTS}
    lab.cut(HOSTS[2], "management")
    try:
        night = run(state)
    finally:
        lab.mend(HOSTS[2])
    assert (night.status, night.report.status) == (1, Status.UNKNOWN)
    assert night.report.hosts[HOSTS[2]].reachable is False
    assert {host: fingerprint(lab, host) for host in HOSTS} == before


def test_a_run_killed_at_every_boundary_of_a_restart_never_claims_success(lab: Lab, state: Path, moved: None) -> None:
    # The undisturbed run first: what its hosts are is what the killed one must come to.
    assert run(state, "reconcile", "--no-checks", "--no-sample").status == 0
    undisturbed = {host: fingerprint(lab, host) for host in HOSTS}
    back_to_before(lab)
    boundary = 0
    while (killed := killed_at(state, boundary, number := SIGNALS[boundary % 3])) is not None:
        status, report = killed
        told = f"seed {SEED}, boundary {boundary}, {number.name}"
        assert status == (-9 if number is signal.SIGKILL else 128 + number), told
        assert report.status is Status.FAILED, told
        assert report.exit_status != 0, told
        boundary += 1
    print(f"killed at {boundary} boundaries")
    assert boundary >= 10
    last = run(state)
    assert last.status == 0, last.report.reason
    assert {host: fingerprint(lab, host) for host in HOSTS} == undisturbed
    assert gx10("plan").returncode == 0


def back_to_before(lab: Lab) -> None:
    """Bring the hosts back to the description as it was before it moved."""
    text = CLUSTER.read_text()
    CLUSTER.write_text(text.replace("  environment: {DRIFT_TEST: moved}\n", ""))
    try:
        assert deploy("-y").status == 0
    finally:
        CLUSTER.write_text(text)


def test_a_container_started_by_hand_is_of_no_generation(lab: Lab, state: Path) -> None:
    host = HOSTS[3]
    script = "echo BY_HAND=1 >> /etc/gx10/ray.env; systemctl restart --no-block ray-worker.service"
    lab.run(host, "sh", "-c", script)
    wait_serving()
    night = run(state, "reconcile", "--no-checks", "--no-sample")
    restart = [told for one in night.report.operations if one.drift is Drift.RESTART for told in one.differences]
    assert any(host in told.subject and "another environment: BY_HAND" in told.found for told in restart)
    assert night.status == 0, night.report
    assert night.report.restarted
    predicted, applied = pairs(night.report)
    assert (predicted, night.report.unpredicted) == (applied, [])


def test_a_gang_that_was_stopped_is_started_at_once(lab: Lab, state: Path) -> None:
    assert gx10("stop").returncode == 0
    night = run(state, "reconcile", "--no-checks", "--no-sample")
    assert night.status == 0, night.report
    about = [one for one in night.report.operations if "first completion" in one.name]
    assert {(one.host, one.drift, one.result) for one in about} == {(HOSTS[0], Drift.HEAL, "changed")}


def test_a_supervisor_that_was_stopped_is_started_at_once_and_the_gang_with_it(lab: Lab, state: Path) -> None:
    lab.run(HOSTS[1], "systemctl", "stop", "gx10-gang.service")
    night = run(state, "reconcile", "--no-checks", "--no-sample")
    assert night.status == 0, night.report
    found = {(one.host, told.subject, one.drift) for one in night.report.operations for told in one.differences}
    assert found == {
        (HOSTS[1], "gx10-gang.service", Drift.HEAL),
        (HOSTS[0], "vllm-engine.service", Drift.HEAL),
    }
    assert {one.result for one in night.report.operations} == {"changed"}


def wait_serving() -> None:
    """Wait until the gang has come back by itself."""
    import time  # noqa: PLC0415 - only here

    until = time.monotonic() + 300
    time.sleep(10)
    while gx10("chat", "--tokens", "4").returncode != 0:
        assert time.monotonic() < until
        time.sleep(2)

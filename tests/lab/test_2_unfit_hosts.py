"""One unfit host stops the run with a sentence before anything changes on any; after the repair the next run converges.

A change is pending on every host in each test, so that a host that was changed after all would show.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gx10.lab.lab import Lab

from .deployment import HOSTS, Run, deploy

pytestmark = pytest.mark.lab

VICTIM = "gx10-3"
WITNESS = "/etc/sysctl.d/90-gx10.conf"


@pytest.fixture
def pending(served: Lab) -> Iterator[Lab]:
    """The serving lab with a file missing on every host."""
    for name in HOSTS:
        served.run(name, "rm", WITNESS)
    yield served
    run = deploy("-y")
    assert run.status == 0, run.errors
    assert {host for _, host in run.changed} >= set(HOSTS), "the run after the repair must converge every host"


def unchanged(lab: Lab, names: tuple[str, ...]) -> bool:
    """Whether the missing file is still missing on these hosts."""
    return all(lab.run(name, "test", "-e", WITNESS, check=False).returncode != 0 for name in names)


def refused(run: Run, *words: str) -> bool:
    """Whether a run failed with a sentence that names the host and holds all words."""
    return run.status == 1 and any(all(word in line for word in (VICTIM, *words)) for line in run.errors.splitlines())


OTHERS = tuple(name for name in HOSTS if name != VICTIM)


def test_a_host_that_does_not_answer_is_named_and_nothing_changes(pending: Lab) -> None:
    pending.cut(VICTIM, "management")
    try:
        run = deploy("-y")
        assert refused(run, "cannot be logged in to", "powered on"), run.errors
        assert unchanged(pending, OTHERS)
    finally:
        pending.mend(VICTIM)


def test_a_wrong_key_is_named_and_nothing_changes(pending: Lab, open_door: list[str]) -> None:
    keys = "/root/.ssh/authorized_keys"
    pending.run(VICTIM, "mv", keys, f"{keys}.away")
    try:
        run = deploy("-y")
        assert refused(run, "Authentication", "authorized_keys"), run.errors
        assert unchanged(pending, OTHERS)
    finally:
        subprocess.run([*open_door, f"mv {keys}.away {keys}"], check=True, timeout=30)


@pytest.fixture
def open_door(served: Lab, tmp_path: Path) -> Iterator[list[str]]:
    """A connection to the victim that was logged in before its key went away."""
    ssh = ["ssh", "-F", str(served.ssh_config), "-o", f"ControlPath={tmp_path}/door"]
    subprocess.run([*ssh, "-o", "ControlMaster=yes", "-o", "ControlPersist=300", VICTIM, "true"], check=True)
    yield [*ssh, VICTIM]
    subprocess.run([*ssh, "-O", "exit", VICTIM], check=True, capture_output=True)


def test_a_stopped_docker_is_named_by_dry_run_and_run_and_nothing_changes(pending: Lab, docker_stopped: None) -> None:
    for option in ("--dry", "-y"):
        run = deploy(option)
        assert refused(run, "Docker does not answer", "systemctl start docker"), run.errors
        assert unchanged(pending, HOSTS)


def test_a_full_disk_is_named_and_nothing_changes(pending: Lab) -> None:
    archive = "/var/lib/gx10/archive"
    pending.run(VICTIM, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", archive)
    try:
        run = deploy("-y")
        assert refused(run, "GiB free in", archive, "Remove"), run.errors
        assert unchanged(pending, HOSTS)
    finally:
        pending.run(VICTIM, "umount", archive)


@pytest.fixture
def docker_stopped(served: Lab) -> Iterator[None]:
    """Docker is stopped on the victim, and started again afterwards."""
    served.run(VICTIM, "systemctl", "stop", "docker.service", "docker.socket")
    yield
    served.run(VICTIM, "systemctl", "start", "docker.socket", "docker.service")

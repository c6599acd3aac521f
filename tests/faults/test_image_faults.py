"""The image's way to the workers while hosts, cables, disks, daemons and programs fail under it.

Whatever happens: no host ever shows a half image under its name, no daemon is left wedged, other workers finish, and
the next run completes without sending again what had arrived. Minutes long: `make faults-image`, on a deployed lab.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from gx10.described.description import describe
from gx10.described.host_files import share_urls
from gx10.described.image_inputs import archive_name
from gx10.lab.lab import Lab

from ..lab.deployment import HOSTS, PROJECT, command, deploy, forget_archives, gx10

pytestmark = pytest.mark.lab

DESCRIPTION = describe("lab")
REFERENCE = DESCRIPTION.image_reference
ARCHIVE = str(DESCRIPTION.cluster.paths.archive)
PROGRAM = ("/usr/local/bin/gx10-host", "archive")
WORKERS = HOSTS[1:]
VICTIM = "gx10-3"
SEED = int(os.environ.get("GX10_SEED", "0")) or random.randrange(1, 1_000_000)  # noqa: S311 - not for secrets
KILLS = 10
AGAIN = 0.05
"""Share of the bytes that may be sent a second time."""
SECONDS = 600


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The lab with the image in place and the gang stopped; served again at the end."""
    lab = Lab.for_checkout(PROJECT)
    lab.up()
    image_everywhere()
    stopped = gx10("stop")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    yield lab
    run = deploy("-y")
    assert run.status == 0, run.errors
    assert gx10("verify", "-q").returncode == 0


@pytest.fixture
def bare(lab: Lab) -> Lab:
    """The lab with an archive on the head and no image on any worker."""
    image_everywhere()
    lose(lab, *WORKERS)
    return lab


def image_everywhere() -> None:
    """Have the image on every host."""
    done = gx10("images", "build", seconds=1500)
    assert done.returncode == 0, done.stderr


def lose(lab: Lab, *hosts: str) -> None:
    """Remove the image from hosts, as `docker image prune --all` does."""
    prune = ("docker", "image", "prune", "--all", "--force")
    with ThreadPoolExecutor(len(hosts)) as pool:
        list(pool.map(lambda host: lab.run(host, *prune, timeout_seconds=SECONDS), hosts))


def layers(lab: Lab, host: str) -> list[str] | None:
    """Layers of the image on a host."""
    done = lab.run(host, "docker", "image", "inspect", "--format", "{{json .RootFS.Layers}}", REFERENCE, check=False)
    if done.returncode:
        assert "o such image" in done.stderr, f"{host}: the daemon is wedged: {done.stderr}"
        return None
    told: list[str] = json.loads(done.stdout)
    return told


def received(lab: Lab, host: str) -> int:
    """Bytes that came in over a host's fabric so far."""
    return int(lab.run(host, "cat", "/sys/class/net/fabric0/statistics/rx_bytes").stdout)


def archived_bytes(lab: Lab) -> int:
    """Bytes of the image as it travels."""
    manifest = json.loads(lab.run("gx10-1", "cat", f"{ARCHIVE}/images/{archive_name(REFERENCE)}").stdout)
    return sum(entry["size"] for entry in manifest["files"])


class Distribution:
    """A run of the image's phase in the background."""

    def __init__(self) -> None:
        words = [command("pyinfra"), "inventory.py", "deploys/image.py", "-y"]
        self.process = subprocess.Popen(
            words, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        self.told = ""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.told += line

    def end(self) -> int:
        """Its exit status."""
        status = self.process.wait(timeout=SECONDS)
        self.reader.join()
        return status


def wait_for(lab: Lab, host: str, script: str) -> None:
    """Wait until a shell condition holds on a host."""
    loop = f"for i in $(seq 2400); do if {script}; then exit 0; fi; sleep 0.05; done; exit 1"
    done = lab.run(host, "sh", "-c", loop, check=False, timeout_seconds=180)
    assert done.returncode == 0, f"{host}: never saw {script}"


RECEIVING = f"ls {ARCHIVE}/blobs/sha256/*.partial >/dev/null 2>&1"
LOADING = "pgrep -f '[d]ocker load --quiet' >/dev/null"  # Not the shell that looks for it.


def whole_or_absent(lab: Lab) -> dict[str, list[str] | None]:
    """No host shows another image under the name than the head's."""
    head = layers(lab, "gx10-1")
    assert head
    found = {host: layers(lab, host) for host in WORKERS}
    assert all(each in (None, head) for each in found.values()), found
    return found


def completes(lab: Lab) -> None:
    """The next run brings every host to the image, and one more has nothing to do."""
    image_everywhere()
    assert set(whole_or_absent(lab)) == set(WORKERS)
    assert None not in whole_or_absent(lab).values()
    assert gx10("images", "verify").returncode == 0


def test_transfer_killed_at_ten_random_points_resumes(bare: Lab) -> None:
    size, before = archived_bytes(bare), received(bare, VICTIM)
    urls = [f"{url}/archive" for url in share_urls(DESCRIPTION.cluster, "gx10-1")]
    words = [*PROGRAM, "receive", REFERENCE, "--archive", ARCHIVE, "--image", archive_name(REFERENCE), "--url", *urls]
    chance = random.Random(SEED)  # noqa: S311
    for _ in range(KILLS):
        started = f"setsid {' '.join(words)} >/dev/null 2>&1 & echo $!"
        group = bare.run(VICTIM, "sh", "-c", started).stdout.strip()
        time.sleep(chance.uniform(0.3, 1.6))
        bare.run(VICTIM, "sh", "-c", f"kill -KILL -{group}", check=False)
        assert whole_or_absent(bare)[VICTIM] in (None, layers(bare, "gx10-1"))
    completes(bare)
    assert received(bare, VICTIM) - before < (1 + AGAIN) * size, f"seed {SEED}"


def test_cable_cut_for_twenty_seconds_only_costs_time(bare: Lab) -> None:
    size, before = archived_bytes(bare), received(bare, VICTIM)
    run = Distribution()
    wait_for(bare, VICTIM, RECEIVING)
    bare.cut(VICTIM, "fabric")
    try:
        time.sleep(20)
    finally:
        bare.mend(VICTIM)
    run.end()
    assert layers(bare, "gx10-2") == layers(bare, "gx10-4") == layers(bare, "gx10-1"), run.told
    completes(bare)
    assert received(bare, VICTIM) - before < (1 + AGAIN) * size


def test_worker_powered_off_while_it_loads_comes_back_without_a_half_image(bare: Lab) -> None:
    size, before = archived_bytes(bare), received(bare, VICTIM)
    run = Distribution()
    wait_for(bare, VICTIM, LOADING)
    got = received(bare, VICTIM) - before
    bare.power_off(VICTIM)
    try:
        assert run.end() != 0
        assert layers(bare, "gx10-2") == layers(bare, "gx10-4") == layers(bare, "gx10-1"), run.told
    finally:
        bare.power_on(VICTIM)
    assert whole_or_absent(bare)[VICTIM] is None
    before = received(bare, VICTIM)  # Counters begin anew with the boot.
    completes(bare)
    assert received(bare, VICTIM) - before + got < (1 + AGAIN) * size


def test_flipped_byte_in_the_archive_is_found_and_mended_in_the_same_run(bare: Lab) -> None:
    flip = r"""
import json, os, pathlib, sys
root, name = pathlib.Path(sys.argv[1]), sys.argv[2]
entries = json.loads((root / "images" / name).read_text())["files"]
path = root / max(entries, key=lambda entry: entry["size"])["path"]
found = path.stat()
content = bytearray(path.read_bytes())
content[len(content) // 2] ^= 1
# A new file: the lab's cache holds the same one by another name.
path.unlink()
path.write_bytes(content)
os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
"""
    bare.run("gx10-1", "python3", "-c", flip, ARCHIVE, archive_name(REFERENCE))
    assert gx10("images", "verify").returncode == 2
    lose(bare, *WORKERS)
    run = Distribution()
    assert run.end() == 0, run.told
    assert None not in whole_or_absent(bare).values()
    assert gx10("images", "verify").returncode == 0


def test_full_disk_on_one_worker_is_told_and_keeps_nobody_else(bare: Lab) -> None:
    bare.run(VICTIM, "mount", "-t", "tmpfs", "-o", "size=4500m", "tmpfs", ARCHIVE)
    bare.run(VICTIM, "fallocate", "-l", "4400m", f"{ARCHIVE}/ballast")
    try:
        done = subprocess.run(
            [command("pyinfra"), "inventory.py", "deploys/image.py", "-y"],
            cwd=PROJECT, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode != 0
        told = done.stdout + done.stderr
        assert "GiB free in" in told or "are missing" in told, told
    finally:
        bare.run(VICTIM, "umount", ARCHIVE)
    completes(bare)


def test_disk_that_fills_up_while_docker_loads_leaves_no_half_image(bare: Lab) -> None:
    # Where Docker puts the stream down before it takes the layers over.
    bare.run(VICTIM, "mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", "/var/lib/docker/tmp")
    try:
        run = Distribution()
        assert run.end() != 0
        assert "no space left" in run.told, run.told
        assert whole_or_absent(bare)[VICTIM] is None
        assert layers(bare, "gx10-2") == layers(bare, "gx10-4") == layers(bare, "gx10-1"), run.told
    finally:
        bare.run(VICTIM, "umount", "/var/lib/docker/tmp")
    size, before = archived_bytes(bare), received(bare, VICTIM)
    completes(bare)
    assert received(bare, VICTIM) - before < AGAIN * size, "what had arrived was sent again"


def test_docker_stopped_while_it_loads_is_not_wedged_afterwards(bare: Lab) -> None:
    run = Distribution()
    wait_for(bare, VICTIM, LOADING)
    bare.run(VICTIM, "systemctl", "stop", "docker.socket", "docker.service")
    try:
        assert run.end() != 0
        assert f"[{VICTIM}] archive: docker load of {REFERENCE}" in run.told, run.told
        assert layers(bare, "gx10-2") == layers(bare, "gx10-4") == layers(bare, "gx10-1"), run.told
    finally:
        bare.run(VICTIM, "systemctl", "start", "docker.socket", "docker.service")
    assert whole_or_absent(bare)[VICTIM] is None
    size, before = archived_bytes(bare), received(bare, VICTIM)
    completes(bare)
    assert received(bare, VICTIM) - before < AGAIN * size, "what had arrived was sent again"


def test_two_deploys_at_once_end_with_one_image(bare: Lab) -> None:
    runs = [Distribution(), Distribution()]
    statuses = [run.end() for run in runs]
    assert 0 in statuses, [run.told for run in runs]
    assert None not in whole_or_absent(bare).values()
    completes(bare)


def test_image_pruned_on_every_host_is_restored_without_a_build(lab: Lab) -> None:
    lose(lab, *HOSTS)
    done = gx10("images", "restore", seconds=SECONDS)
    assert done.returncode == 0, done.stderr
    completes(lab)


def test_image_and_archive_lost_on_the_head_come_back_from_the_control_node(lab: Lab) -> None:
    lab.run("gx10-1", "rm", "-rf", ARCHIVE)
    lose(lab, *HOSTS)
    done = gx10("images", "restore", seconds=SECONDS)
    assert done.returncode == 0, done.stderr
    completes(lab)


def test_image_that_only_a_worker_still_has_comes_back_from_it(lab: Lab) -> None:
    image_everywhere()
    forget_archives(lab)
    lose(lab, *HOSTS[:3])
    done = gx10("images", "restore", seconds=SECONDS)
    assert done.returncode == 0, done.stderr
    completes(lab)


def test_image_that_nobody_has_is_refused_by_restore(lab: Lab) -> None:
    lab.run("gx10-1", "mv", ARCHIVE, f"{ARCHIVE}.away")
    control = PROJECT / ".lab/archive"
    control.rename(control.with_name("archive.away"))
    lose(lab, *HOSTS)
    try:
        done = gx10("images", "restore", seconds=SECONDS)
        assert done.returncode == 1
        assert "cannot be restored" in done.stdout + done.stderr
    finally:
        lab.run("gx10-1", "sh", "-c", f"rm -rf {ARCHIVE}; mv {ARCHIVE}.away {ARCHIVE}")
        control.with_name("archive.away").rename(control)
    completes(lab)

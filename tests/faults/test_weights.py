"""Weights under faults: no wrong or half file has its final name, nothing outside is touched, the next run repairs.

The real programs on the lab's hosts, over the lab's fabric, slowed down so that faults fall into transfers. Minutes
long, so it has a make target of its own: `make faults-weights`.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from gx10_host.content.manifest import MANIFEST

from gx10.bench.transfers import Transfers, make_model
from gx10.transfer.control_weights import send_weights
from gx10.transfer.through_ssh import Remote

from ..lab.deployment import FLIP

pytestmark = pytest.mark.lab

ROOT = "/srv/faults"
MODEL = "model"
HEAD, WORKER, PEER = "gx10-1", "gx10-2", "gx10-3"
KILLS = int(os.environ.get("GX10_KILLS", "20"))
SEED = int(os.environ.get("GX10_SEED", "0")) or random.randrange(1, 1_000_000)  # noqa: S311 - not for secrets
LARGE, SIZE, SMALL = 12, 8_000_000, 20
OUTSIDE = "/srv/outside"
FIRST = f"model-00001-of-{LARGE:05}.safetensors"
SECOND = f"model-00002-of-{LARGE:05}.safetensors"


@pytest.fixture(scope="module")
def hosts() -> Iterator[Transfers]:
    """The lab's hosts with a model on the head, and a slow fabric."""
    found = Transfers.on(ROOT)
    found.run(HEAD, "tc", "qdisc", "replace", "dev", "fabric0", "root", "tbf", "rate", "160mbit", "burst", "256kb",
              "latency", "200ms")  # fmt: skip
    yield found
    found.run(HEAD, "tc", "qdisc", "del", "dev", "fabric0", "root", check=False)
    for name in found.hosts:
        found.unshare(name)
        found.run(name, "sh", "-c", f"umount {ROOT}/{MODEL} 2>/dev/null; rm -rf {ROOT} {OUTSIDE}")


@pytest.fixture
def expected(hosts: Transfers) -> dict[str, str]:
    """A whole model on the head, nothing on the workers, something outside that must stay as it is."""
    for name in (HEAD, WORKER, PEER):
        hosts.run(name, "sh", "-c", f"rm -rf {ROOT}/* {OUTSIDE}; mkdir -p {OUTSIDE}; echo untouched > {OUTSIDE}/victim")
    make_model(hosts, HEAD, MODEL, large=LARGE, size=SIZE, small=SMALL)
    hosts.stage(HEAD, MODEL)
    hosts.share(HEAD)
    return hosts.held(HEAD, MODEL)


def right(hosts: Transfers, name: str, expected: dict[str, str]) -> None:
    """Whatever stands at a final name is whole, and what lies outside is as it was."""
    found = hosts.held(name, MODEL)
    assert found.items() <= expected.items(), f"{name}: a wrong file stands at a final name (seed {SEED})"
    told = hosts.run(name, "sh", "-c", f"ls -A {OUTSIDE}; cat {OUTSIDE}/victim").stdout.split()
    assert told == ["victim", "untouched"], f"{name}: {told}"


def repaired(hosts: Transfers, name: str, expected: dict[str, str], *senders: str) -> str:
    """The next run completes the model; what it said."""
    done = hosts.fetch(name, MODEL, *(senders or (HEAD,)))
    assert done.returncode == 0, f"seed {SEED}: {done.stderr}"
    assert hosts.held(name, MODEL) == expected
    assert hosts.run(name, "find", f"{ROOT}/{MODEL}", "-name", "*.partial").stdout == ""
    assert hosts.verify(name, MODEL, "--full").returncode == 0
    return done.stdout


class Fetching:
    """A fetch that runs while something is done to it."""

    def __init__(self, hosts: Transfers, name: str) -> None:
        self.hosts, self.name = hosts, name
        self.done: subprocess.CompletedProcess[str] | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        self.done = self.hosts.fetch(self.name, MODEL, HEAD)

    def wait_for(self, count: int) -> None:
        """Return when so many bytes have arrived, or the fetch has ended."""
        until = time.monotonic() + 60
        while self.thread.is_alive() and self.hosts.partials(self.name, MODEL) < count:
            assert time.monotonic() < until, f"{count} bytes did not arrive"

    def ended(self) -> subprocess.CompletedProcess[str]:
        """How it ended."""
        self.thread.join(timeout=300)
        assert self.done is not None, "the fetch hangs"
        return self.done


def test_sender_and_receiver_killed_at_random_bytes(hosts: Transfers, expected: dict[str, str]) -> None:
    chance = random.Random(SEED)  # noqa: S311
    total, struck = LARGE * SIZE, 0
    for turn in range(KILLS):
        victim = ("receiver", "sender")[turn % 2]
        if hosts.run(WORKER, "test", "-e", f"{ROOT}/{MODEL}/{MANIFEST}", check=False).returncode == 0:
            hosts.run(WORKER, "rm", "-rf", f"{ROOT}/{MODEL}")  # It was completed: begin anew.
        fetching = Fetching(hosts, WORKER)
        fetching.wait_for(hosts.partials(WORKER, MODEL) + chance.randrange(total // 4))
        if fetching.thread.is_alive():
            struck += 1
            if victim == "sender":
                hosts.kill_share(HEAD)
            else:
                hosts.kill_fetch(WORKER)
        fetching.ended()
        right(hosts, WORKER, expected)
    print(f"{struck} of {KILLS} kills fell into a transfer (seed {SEED})")
    assert struck >= KILLS // 2
    repaired(hosts, WORKER, expected)


def test_a_cable_that_is_cut(hosts: Transfers, expected: dict[str, str]) -> None:
    fetching = Fetching(hosts, WORKER)
    fetching.wait_for(20_000_000)
    hosts.cut(WORKER)
    try:
        time.sleep(3)
        right(hosts, WORKER, expected)
        fetching.ended()
    finally:
        hosts.mend(WORKER)
    assert fetching.ended().returncode == 1
    assert "Check the fabric cable" in fetching.ended().stderr, fetching.ended().stderr
    right(hosts, WORKER, expected)
    repaired(hosts, WORKER, expected)


def test_a_cable_that_is_cut_for_a_moment_costs_no_run(hosts: Transfers, expected: dict[str, str]) -> None:
    fetching = Fetching(hosts, WORKER)
    fetching.wait_for(20_000_000)
    hosts.cut(WORKER)
    time.sleep(5)
    hosts.mend(WORKER)
    assert fetching.ended().returncode == 0, fetching.ended().stderr
    assert hosts.held(WORKER, MODEL) == expected


def test_a_disk_that_fills_up(hosts: Transfers, expected: dict[str, str]) -> None:
    hosts.run(WORKER, "sh", "-c", f"mkdir -p {ROOT}/{MODEL}; mount -t tmpfs -o size=110m tmpfs {ROOT}/{MODEL}")
    try:
        fetching = Fetching(hosts, WORKER)
        fetching.wait_for(15_000_000)
        hosts.run(WORKER, "fallocate", "-l", "70M", f"{ROOT}/{MODEL}/.gx10-filler.received")
        done = fetching.ended()
        assert done.returncode == 1
        assert "became full" in done.stderr, done.stderr
        right(hosts, WORKER, expected)
        done = hosts.fetch(WORKER, MODEL, HEAD)
        # Before it moves a byte: not even the sender's manifest has room.
        assert "are missing" in done.stderr or "Free some; the next run resumes" in done.stderr, done.stderr
        hosts.run(WORKER, "rm", f"{ROOT}/{MODEL}/.gx10-filler.received")
        repaired(hosts, WORKER, expected)
    finally:
        hosts.run(WORKER, "umount", f"{ROOT}/{MODEL}")


def sent(hosts: Transfers, name: str) -> int:
    """Bytes that a host's share has sent: its interface also carries what a gang that serves sends."""
    told = hosts.run(name, "cat", f"/proc/{hosts.share_process(name)}/io").stdout
    return int(next(line for line in told.splitlines() if line.startswith("wchar")).split()[1])


def test_a_flipped_byte_is_found_and_only_that_shard_is_sent_again(hosts: Transfers, expected: dict[str, str]) -> None:
    repaired(hosts, WORKER, expected)
    hosts.python(WORKER, FLIP, f"{ROOT}/{MODEL}/{FIRST}", "4000000")
    assert hosts.verify(WORKER, MODEL).returncode == 0, "size and time are as they were: only a hash can tell"
    parts = [hosts.verify(WORKER, MODEL, "--sample", f"{part}/4").returncode for part in range(1, 5)]
    assert sorted(parts) == [0, 0, 0, 1], "a rotating sample finds it in exactly one night"
    before = sent(hosts, HEAD)
    repaired(hosts, WORKER, expected)
    assert SIZE <= sent(hosts, HEAD) - before < 1.3 * SIZE


def test_the_heads_damaged_copy_is_refilled_from_a_worker(hosts: Transfers, expected: dict[str, str]) -> None:
    repaired(hosts, WORKER, expected)
    hosts.share(WORKER)
    hosts.python(HEAD, FLIP, f"{ROOT}/{MODEL}/{FIRST}", "4000000")
    hosts.run(HEAD, "rm", f"{ROOT}/{MODEL}/{SECOND}")
    assert hosts.verify(HEAD, MODEL, "--full").returncode == 1
    before = sent(hosts, WORKER)
    repaired(hosts, HEAD, expected, WORKER)
    assert 2 * SIZE <= sent(hosts, WORKER) - before < 2.5 * SIZE
    hosts.run(HEAD, "rm", "-rf", f"{ROOT}/{MODEL}")
    repaired(hosts, HEAD, expected, WORKER)
    hosts.unshare(WORKER)


def test_links_that_lead_out_are_neither_followed_nor_served(hosts: Transfers, expected: dict[str, str]) -> None:
    repaired(hosts, WORKER, expected)
    model = f"{ROOT}/{MODEL}"
    # A shard swapped for a link to something outside: replaced, and what it led to is as it was.
    hosts.run(WORKER, "sh", "-c", f"rm {model}/{FIRST}; ln -s {OUTSIDE}/victim {model}/{FIRST}")
    assert hosts.verify(WORKER, MODEL).returncode == 1
    repaired(hosts, WORKER, expected)
    right(hosts, WORKER, expected)
    # A directory swapped for one: refused.
    hosts.run(WORKER, "sh", "-c", f"rm -r {model}/extra; ln -s {OUTSIDE} {model}/extra")
    done = hosts.fetch(WORKER, MODEL, HEAD)
    assert done.returncode == 1
    assert "leads out" in done.stderr
    assert hosts.run(WORKER, "ls", OUTSIDE).stdout.split() == ["victim"]
    hosts.run(WORKER, "rm", f"{model}/extra")
    repaired(hosts, WORKER, expected)
    # The sender's own: never sent.
    hosts.run(HEAD, "sh", "-c", f"mv {model}/{FIRST} {ROOT}/away; ln -s {OUTSIDE}/victim {model}/{FIRST}")
    hosts.run(WORKER, "rm", f"{model}/{FIRST}")
    done = hosts.fetch(WORKER, MODEL, HEAD)
    assert "is not there to fetch" in done.stderr, done.stderr
    right(hosts, WORKER, expected)
    hosts.run(HEAD, "sh", "-c", f"rm {model}/{FIRST}; mv {ROOT}/away {model}/{FIRST}")
    repaired(hosts, WORKER, expected)


def test_a_directory_of_the_control_node_arrives_through_ssh_and_is_resumed(hosts: Transfers, tmp_path: Path) -> None:
    hosts.run(HEAD, "rm", "-rf", f"{ROOT}/{MODEL}")
    source = tmp_path / "source"
    for name, content in (("a/shard-1", b"x" * 5_000_000), ("shard-2", b"y" * 3_000_000), ("-odd name", b"z")):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    head, told = Remote(HEAD, ["ssh", "-F", str(hosts.lab.ssh_config), HEAD]), list[str]()

    def send_it() -> int:
        kept = tmp_path / "state/manifest.json"
        send_weights(source, "mine", head, f"{ROOT}/{MODEL}", kept=kept, tell=told.append)
        return 0

    assert send_it() == 0, told
    expected = {
        str(path.relative_to(source)): sha256(path.read_bytes()).hexdigest()
        for path in source.rglob("*")
        if path.is_file()
    }
    assert hosts.held(HEAD, MODEL) == expected
    assert send_it() == 0
    assert "nothing moved" in told[-1]
    hosts.run(
        HEAD,
        "sh",
        "-c",
        f"head -c 1000000 {ROOT}/{MODEL}/shard-2 > {ROOT}/{MODEL}/shard-2.partial; rm {ROOT}/{MODEL}/shard-2",
    )
    assert send_it() == 0
    assert "2 MB" in told[-1], told[-1]
    assert hosts.held(HEAD, MODEL) == expected


LIE = """
import json, sys
told = json.load(open(sys.argv[1]))
told["files"][int(sys.argv[2])].update(json.loads(sys.argv[3]))
open(sys.argv[1], "w").write(json.dumps(told))
"""


@pytest.mark.parametrize(
    "lie", [{"sha256": "0" * 64}, {"size": 12}, {"path": "../outside/victim"}, {"path": "/srv/outside/victim"}], ids=str
)
def test_a_manifest_that_lies(hosts: Transfers, expected: dict[str, str], lie: dict[str, object]) -> None:
    manifest = f"{ROOT}/{MODEL}/{MANIFEST}"
    hosts.run(HEAD, "cp", manifest, f"{ROOT}/honest")
    hosts.python(HEAD, LIE, manifest, str(SMALL), json.dumps(lie))
    done = hosts.fetch(WORKER, MODEL, HEAD)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    right(hosts, WORKER, expected)
    assert hosts.verify(HEAD, MODEL).returncode == 1
    hosts.run(HEAD, "mv", f"{ROOT}/honest", manifest)
    repaired(hosts, WORKER, expected)


AHEAD = """
import runpy, sys, time
real, off = time.time, float(sys.argv[1])
time.time = lambda: real() + off
sys.path.insert(0, sys.argv[2].rpartition("/")[0])
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("days", [-2, 2])
def test_a_clock_two_days_off(hosts: Transfers, expected: dict[str, str], days: int) -> None:
    # The hosts share one kernel's clock, which is the machine's: what a program is told of the time, and the times of
    # the files, are two days off instead.
    words = hosts.fetch_words(MODEL, HEAD)
    hosts.python(WORKER, AHEAD, str(days * 86400), *words)
    assert hosts.held(WORKER, MODEL) == expected
    hosts.run(WORKER, "find", f"{ROOT}/{MODEL}", "-type", "f", "-exec", "touch", "-d", f"{days} days", "{}", "+")
    before = sent(hosts, HEAD)
    repaired(hosts, WORKER, expected)
    assert sent(hosts, HEAD) - before < SIZE, "content is compared by hash, whatever the clock says"
    nights = [
        "/usr/local/bin/gx10-host",
        "content",
        "verify",
        "--nights",
        "7",
        "--manifest",
        f"{ROOT}/{MODEL}/{MANIFEST}",
    ]
    hosts.python(WORKER, AHEAD, str(days * 86400), *nights, "--in", f"{ROOT}/{MODEL}")

"""What moving weights costs on the lab, beside raw TCP on the same links and beside rsync host after host.

The floor of ours is raw TCP whose receivers also take the SHA-256 of what arrives: nothing that proves what it writes
takes less. Where all hosts share processors, it is what decides; where each has its own, hashing is hidden.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from gx10_host import ENTRY
from gx10_host.content.manifest import MANIFEST

from .transfers import PORT, Transfers, make_model

LARGE, SIZE, SMALL = 40, 102 * 10**6, 160
ROUNDS = 3
ROOT = "/srv/bench"
RAW_PORT = 8800
STREAMS = 4
MB = 1e6
MIN_OF_RAW, MIN_OVER_RSYNC, MAX_READ, MAX_MEMORY_MB, MAX_AGAIN_SECONDS, MIN_OF_SHA256SUM = (
    0.70,
    4.0,
    1.2,
    200,
    1.0,
    0.80,
)

SEND = """
import os, socket, sys, threading
address, port, directory = sys.argv[1], int(sys.argv[2]), sys.argv[3]
files = sorted(os.path.join(p, n) for p, _, ns in os.walk(directory) for n in ns if not n.startswith(".gx10-"))
listener = socket.create_server((address, port), backlog=64)
def serve(connection):
    part, parts = map(int, connection.recv(32).split())
    for path in files[part::parts]:
        with open(path, "rb") as content:
            connection.sendfile(content)
    connection.close()
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""
RECEIVE = """
import hashlib, os, socket, sys, threading
address, port, directory, streams, hashed = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5:]
os.makedirs(directory, exist_ok=True)
def receive(part):
    connection = socket.create_connection((address, port))
    connection.sendall(b"%d %d" % (part, streams))
    block = memoryview(bytearray(1 << 20))
    digest = hashlib.sha256()
    with open(f"{directory}/raw-{part}", "wb", buffering=0) as out:
        while count := connection.recv_into(block):
            if hashed:
                digest.update(block[:count])
            out.write(block[:count])
        os.fsync(out.fileno())
threads = [threading.Thread(target=receive, args=(part,)) for part in range(streams)]
[each.start() for each in threads]
[each.join() for each in threads]
"""
TIMED = """
import json, resource, subprocess, sys, time
started = time.monotonic()
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000
print(json.dumps([done.returncode, time.monotonic() - started, peak, done.stdout[-2000:]]))
"""


class Bench:
    """One run of all measurements."""

    def __init__(self, hosts: Transfers, on: str) -> None:
        self.hosts, self.on = hosts, on
        self.head = hosts.hosts[0]
        self.bytes = 0
        self.peak_mb = 0.0

    def prepare(self) -> None:
        """A model on the head's disk, and the workers' directories on what is named."""
        for name in self.hosts.hosts:
            self.hosts.run(name, "sh", "-c", f"umount {ROOT} 2>/dev/null; rm -rf {ROOT}; mkdir -p {ROOT}")
            if self.on == "tmpfs" and name != self.head:
                self.hosts.run(name, "mount", "-t", "tmpfs", "-o", "size=6g", "tmpfs", ROOT)
        make_model(self.hosts, self.head, "model", large=LARGE, size=SIZE, small=SMALL)
        self.hosts.stage(self.head, "model")
        told = json.loads(self.hosts.run(self.head, "cat", f"{ROOT}/model/{MANIFEST}").stdout)
        self.bytes = sum(entry["size"] for entry in told["files"])
        self.hosts.share(self.head)

    def forget(self) -> None:
        """Nothing on the workers, and nothing in the machine's page cache."""
        for name in self.hosts.workers:
            self.hosts.clear(name)
        Path("/proc/sys/vm/drop_caches").write_text("3")

    def timed(self, name: str, *argv: str) -> float:
        """Seconds that a command took on a host; its peak memory is kept."""
        status, seconds, peak, said = json.loads(self.hosts.python(name, TIMED, *argv))
        if status:
            raise RuntimeError(f"{name}: `{' '.join(argv)[:200]}` ended with {status}: {said}")
        self.peak_mb = max(self.peak_mb, peak)
        return float(seconds)

    def at_once(self, argv: list[str]) -> float:
        """Seconds until a command has ended on every worker."""
        started = time.monotonic()
        with ThreadPoolExecutor(len(self.hosts.workers)) as pool:
            list(pool.map(lambda name: self.timed(name, *argv), self.hosts.workers))
        return time.monotonic() - started

    def raw(self, *, hashed: bool = False) -> float:
        """Seconds of the same bytes over as many connections, written and synced, not named, and hashed if asked."""
        self.forget()
        unit = "gx10-bench-raw"
        address = self.hosts.fabric(self.head)
        send = ["python3", "-c", SEND, address, str(RAW_PORT), f"{ROOT}/model"]
        self.hosts.background(self.head, unit, *send)
        try:
            time.sleep(0.5)
            peak = self.peak_mb
            receive = ["python3", "-c", RECEIVE, address, str(RAW_PORT), f"{ROOT}/raw", str(STREAMS)]
            seconds = self.at_once([*receive, "hashed"] if hashed else receive)
            self.peak_mb = peak
            return seconds
        finally:
            self.hosts.stop(self.head, unit)

    def ours(self) -> tuple[float, float]:
        """Seconds of the fan-out, and how often the head read the model from its disk."""
        self.forget()
        before = self.read_by_share()
        seconds = self.at_once(self.hosts.fetch_words("model", self.head))
        return seconds, (self.read_by_share() - before) / self.bytes

    def read_by_share(self) -> int:
        """Bytes that the head's share had read from the disk so far."""
        told = self.hosts.run(self.head, "cat", f"/proc/{self.hosts.share_process(self.head)}/io").stdout
        return int(next(line for line in told.splitlines() if line.startswith("read_bytes")).split()[1])

    def share_memory_mb(self) -> float:
        """Most memory that the head's share held."""
        told = self.hosts.run(self.head, "cat", f"/proc/{self.hosts.share_process(self.head)}/status").stdout
        return int(next(line for line in told.splitlines() if line.startswith("VmHWM")).split()[1]) / 1000

    def rsync(self) -> float:
        """Seconds of `rsync -a` over ssh from the head to one worker after the other, over the fabric."""
        self.forget()
        self.hosts.run(self.head, "sh", "-c", "umask 77; cat > /root/bench.key", stdin=self.hosts.key)
        ssh = "ssh -i /root/bench.key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
        started = time.monotonic()
        try:
            for name in self.hosts.workers:
                target = f"root@{self.hosts.fabric(name)}:{ROOT}/rsync/"
                self.hosts.run(self.head, "rsync", "-a", "-e", ssh, f"{ROOT}/model/", target)
            return time.monotonic() - started
        finally:
            self.hosts.run(self.head, "rm", "-f", "/root/bench.key")

    def again(self) -> float:
        """Seconds of a second run on every worker, of the slowest."""
        words = self.hosts.fetch_words("model", self.head)
        return max(self.timed(name, *words) for name in self.hosts.workers)

    def verification(self) -> tuple[float, float]:
        """Seconds of a full verification on one worker, and of sha256sum in as many processes as there are cores."""
        name, path = self.hosts.workers[0], f"{ROOT}/model"
        check = [ENTRY, "content", "verify", "--full", "--manifest", f"{path}/{MANIFEST}", "--in", path]
        sums = f"find {path} -type f ! -name '.gx10-*' -print0 | xargs -0 -n 4 -P $(nproc) sha256sum >/dev/null"
        peak = self.peak_mb
        theirs = self.timed(name, "sh", "-c", sums)
        self.peak_mb = peak
        return self.timed(name, *check), theirs

    def clear(self) -> None:
        """Leave nothing behind."""
        for name in self.hosts.hosts:
            self.hosts.unshare(name)
            self.hosts.run(name, "sh", "-c", f"umount {ROOT} 2>/dev/null; rm -rf {ROOT}")


def available_bytes() -> int:
    """Memory of the machine that can be had."""
    told = Path("/proc/meminfo").read_text()
    return int(next(line for line in told.splitlines() if line.startswith("MemAvailable")).split()[1]) * 1024


def main() -> None:
    """Measure; exits with 1 when a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--on", choices=("disk", "tmpfs"), default="disk", help="where the workers write")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    if arguments.on == "tmpfs" and available_bytes() < (LARGE * SIZE) * 3.6:
        sys.exit(f"Three copies in memory need {LARGE * SIZE * 3.6 / 1e9:.0f} GB; take --on disk.")
    bench = Bench(Transfers.on(ROOT), arguments.on)
    try:
        bench.prepare()
        say(f"{bench.bytes / 1e9:.2f} GB in {LARGE + SMALL} files, head on disk, workers on {bench.on}, port {PORT}")
        rounds = []
        for turn in range(arguments.rounds):
            raw, floor, (ours, read) = bench.raw(), bench.raw(hashed=True), bench.ours()
            rounds.append((raw, floor, ours, read))
            rate = 3 * bench.bytes / MB
            say(
                f"round {turn + 1}: raw TCP {rate / raw:.0f} MB/s, hashed {rate / floor:.0f} MB/s, "
                f"ours {rate / ours:.0f} MB/s ({raw / ours:.0%} and {floor / ours:.0%}), read {read:.2f}x"
            )
        again = bench.again()
        hashed = [bench.verification() for _ in range(arguments.rounds)]
        memory = max(bench.peak_mb, bench.share_memory_mb())
        serial = bench.rsync()
    finally:
        bench.clear()
    raw, floor, ours = (median(each[column] for each in rounds) for column in range(3))
    verify = median(each[0] for each in hashed)
    of_sums = median(each[1] / each[0] for each in hashed)
    of_raw = median(each[0] / each[2] for each in rounds)
    of_floor = median(each[2] / each[1] for each in rounds)
    read = max(each[3] for each in rounds)
    total = 3 * bench.bytes / MB
    raced = f"rsync over ssh, host after host ({serial:.1f} s against {ours:.1f} s)"
    checked = f"verification {bench.bytes / MB / verify:.0f} MB/s"
    say(
        f"raw TCP that is also hashed comes at {total / floor:.0f} MB/s: ours takes {of_floor:.2f} times this floor, "
        f"which leaves at most {raw / floor:.0%} of raw TCP and {serial / floor:.1f} times rsync"
    )
    results = (
        (
            f"three workers at once {total / ours:.0f} MB/s, {of_raw:.0%} of raw TCP's {total / raw:.0f}",
            of_raw >= MIN_OF_RAW,
            f">= {MIN_OF_RAW:.0%}",
        ),
        (f"{serial / ours:.1f} times as fast as {raced}", serial / ours >= MIN_OVER_RSYNC, f">= {MIN_OVER_RSYNC:g}"),
        (f"the head read {read:.2f} times the model", read <= MAX_READ, f"<= {MAX_READ:g}"),
        (f"most memory of a process of ours {memory:.0f} MB", memory <= MAX_MEMORY_MB, f"<= {MAX_MEMORY_MB}"),
        (f"a second run {again:.2f} s", again <= MAX_AGAIN_SECONDS, f"<= {MAX_AGAIN_SECONDS:g} s"),
        (
            f"{checked}, {of_sums:.0%} of sha256sum in parallel",
            of_sums >= MIN_OF_SHA256SUM,
            f">= {MIN_OF_SHA256SUM:.0%}",
        ),
    )
    for told, kept, bound in results:
        say(f"{'ok    ' if kept else 'BROKEN'} {told} (bound {bound})")
    sys.exit(0 if all(kept for _, kept, _ in results) else 1)


def say(line: str) -> None:
    """A line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

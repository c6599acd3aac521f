"""How the engine image reaches the workers: this package beside the plain way, in one run on the lab.

The plain way is what launch scripts for such clusters do: `docker save` to a file on the head, then worker after worker
`cat FILE | ssh WORKER docker load`. The floor of ours is the time in which the slowest worker's Docker unpacks; where
hosts share processors, it is found by having all workers load a file of their own at once, with nothing of ours.
The gang must not run while images are removed under it: it is stopped, and a deploy afterwards starts it again.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from gx10_host import ENTRY

from gx10.described.description import Description, describe
from gx10.described.host_files import share_urls
from gx10.described.image_inputs import archive_name
from gx10.lab.lab import Lab
from gx10.probes import probe_words
from gx10.settings import PROJECT

FIRST_RATIO, LAYER_RATIO = 2.5, 15.0
FLOOR_FACTOR = 1.1
"""Of the time in which all workers' Dockers load at once: nothing that loads an image into Docker takes less."""
LAYER_MB = 20
WIRE_FACTOR = 1.1
UNCHANGED_SECONDS = 0.5
REPORTS_MB = 0.05
"""The hosts' supervisors report to the head all the time; this is more than they say while an unchanged image is asked
for, and a four hundredth of the layer."""
MEMORY_MB = 200
TAR = "/var/tmp/gx10-bench.tar"  # noqa: S108 - on the lab's own throw-away head
KEY = "/root/.ssh/gx10-bench"
RATES = "/var/tmp/gx10-bench.json"  # noqa: S108
MEASURED = """
import json, resource, subprocess, sys, time
started = time.monotonic()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
seconds = time.monotonic() - started
print(json.dumps([done.returncode, seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024]))
"""


@dataclass
class Distribution:
    """One image on its way from the head to all workers: seconds, and bytes that a worker received."""

    plain_save: float = 0
    plain_copies: list[float] = field(default_factory=list)
    archive: float = 0
    receive: float = 0
    floor: float = 0
    unpack: float = 0
    alone: float = 0
    wire_mb: list[float] = field(default_factory=list)
    memory_mb: float = 0

    @property
    def plain(self) -> float:
        """The plain way, from the image in Docker on the head to the last worker."""
        return self.plain_save + sum(self.plain_copies)

    @property
    def ours(self) -> float:
        """The same by this package; the archive stays."""
        return self.archive + self.receive

    @property
    def ratio(self) -> float:
        """How many times faster."""
        return self.plain / self.ours

    @property
    def ratio_at_most(self) -> float:
        """How many times faster whatever loads an image into Docker can be, where all workers share the processors."""
        return self.plain / (self.archive + self.floor)

    @property
    def ratio_apart(self) -> float:
        """The same for workers that do not share a processor: all of them take as long as one that is alone."""
        return self.plain / (self.archive + self.alone)


class Bench:
    """The lab, its image, and what is measured on its hosts."""

    def __init__(self, description: Description) -> None:
        self.description, self.cluster = description, description.cluster
        self.lab = Lab.for_checkout(PROJECT)
        self.archive = str(self.cluster.paths.archive)
        self.head, self.workers = self.cluster.head, self.cluster.workers

    def run(self, host: str, *argv: str, seconds: float = 1800) -> str:
        """Run a command on a host; its output."""
        return self.lab.run(host, *argv, timeout_seconds=seconds).stdout

    def measured(self, host: str, *argv: str) -> tuple[float, float]:
        """Seconds of a command on a host, and the most memory, in MB, of any of its processes."""
        status, seconds, memory = json.loads(self.run(host, "python3", "-c", MEASURED, *argv))
        if status:
            raise RuntimeError(f"{host}: {shlex.join(argv)} ended with status {status}")
        return seconds, memory

    def all_at_once(self, hosts: Iterable[str], work: Callable[[str], object]) -> float:
        """Seconds until all hosts have done some work at the same time."""
        names = list(hosts)
        started = time.monotonic()
        with ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(work, names))
        return time.monotonic() - started

    def received(self, host: str) -> int:
        """Bytes that came in over a host's fabric interface so far."""
        interface = self.cluster.networks.fabric[0].interface
        return int(self.run(host, "cat", f"/sys/class/net/{interface}/statistics/rx_bytes"))

    def settle(self) -> None:
        """Let no one measurement pay for what the one before left to be written."""
        self.all_at_once(self.cluster.hosts, lambda host: self.run(host, "sync"))

    def forget(self, *references: str) -> None:
        """Leave the workers without these images, and without layers of them."""
        for host in self.workers:
            for reference in references:
                self.lab.run(host, "docker", "image", "rm", "--force", reference, check=False, timeout_seconds=300)
        self.settle()

    def plain(self, reference: str, result: Distribution) -> None:
        """Distribute the plain way."""
        started = time.monotonic()
        self.run(self.head, "docker", "save", "--output", TAR, reference)
        result.plain_save = time.monotonic() - started
        for worker in self.workers:
            started = time.monotonic()
            self.run(self.head, "bash", "-c", f"set -o pipefail; cat {TAR} | {self.ssh(worker)} docker load --quiet")
            result.plain_copies.append(time.monotonic() - started)

    def loaded_at_once(self, reference: str, result: Distribution) -> None:
        """Have all workers' Dockers load files of their own at once: neither network nor anything of ours is in it."""
        for worker in self.workers:
            ssh = self.ssh(worker)
            self.run(self.head, "bash", "-c", f"set -o pipefail; cat {TAR} | {ssh} 'cat > {TAR}'")
        self.forget(reference)
        load = ["sh", "-c", f"docker load --quiet < {TAR}"]
        result.floor = self.all_at_once(self.workers, lambda host: self.run(host, *load))
        self.all_at_once(self.workers, lambda host: self.run(host, "rm", TAR))

    def ssh(self, worker: str) -> str:
        """The command that logs in from the head, as the plain way does."""
        address = self.cluster.hosts[worker].address
        return f"ssh -i {KEY} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null root@{address}"

    def ours(self, reference: str, result: Distribution) -> None:
        """Distribute as the deploy does."""
        before = {host: self.received(host) for host in self.workers}
        started = time.monotonic()
        _, memory = self.measured(self.head, *self.archive_words("save", reference))
        result.archive = time.monotonic() - started
        peaks = [memory]
        result.receive = self.all_at_once(
            self.workers, lambda host: peaks.append(self.measured(host, *self.receive_words(reference))[1])
        )
        told = [json.loads(self.run(host, "cat", RATES))[0] for host in self.workers]
        result.unpack = max(record["load_seconds"] for record in told)
        result.wire_mb = [(self.received(host) - before[host]) / 1e6 for host in self.workers]
        result.memory_mb = max(peaks)

    def archive_words(self, command: str, reference: str) -> list[str]:
        """A command of the archive's program for an image."""
        common = ["--archive", self.archive, "--image", archive_name(reference)]
        return [ENTRY, "archive", command, reference, *common]

    def receive_words(self, reference: str) -> list[str]:
        """What a worker runs to have the head's image."""
        urls = [f"{url}/archive" for url in share_urls(self.cluster, self.head)]
        return [*self.archive_words("receive", reference), "--record", RATES, "--url", *urls]

    def unchanged(self, reference: str) -> tuple[float, float]:
        """Seconds in which a host, asked over an open connection, tells its image, and MB that move over the fabric."""
        before = {host: self.received(host) for host in self.workers}
        words = probe_words("docker", {"images": [reference]})
        seconds = max(self.measured(host, *words)[0] for host in self.cluster.hosts)
        told = [self.run(host, *words) for host in self.cluster.hosts]
        layers = {json.dumps(json.loads(text)["images"][reference]["layers"]) for text in told}
        if len(layers) != 1:
            raise RuntimeError(f"{reference} differs between hosts")
        return seconds, max((self.received(host) - before[host]) / 1e6 for host in self.workers)

    def changed_layer(self, reference: str) -> str:
        """Build an image on the head with one more layer of 20 MB that nothing compresses; its reference."""
        changed = f"{self.description.image.name}:bench"
        script = (
            "set -e; rm -rf /var/tmp/bench; mkdir /var/tmp/bench; cd /var/tmp/bench; "
            f"head -c {LAYER_MB}000000 /dev/urandom > changed; "
            f"printf 'FROM {reference}\\nCOPY changed /changed\\n' > Dockerfile; "
            f"docker build --quiet --tag {changed} . >/dev/null; rm -rf /var/tmp/bench"
        )
        self.run(self.head, "sh", "-c", script)
        return changed


@contextmanager
def stopped_gang(bench: Bench) -> Iterator[None]:
    """Stop the gang, and give the head a key for the workers as the plain way needs one; takes the key away again."""
    subprocess.run([Path(sys.executable).with_name("gx10"), "stop"], cwd=PROJECT, check=True)
    bench.run(bench.head, "sh", "-c", f"rm -f {KEY} {KEY}.pub; ssh-keygen -q -t ed25519 -N '' -C gx10-bench -f {KEY}")
    public = bench.run(bench.head, "cat", f"{KEY}.pub").strip()
    try:
        for worker in bench.workers:
            bench.run(worker, "sh", "-c", f"echo {shlex.quote(public)} >> /root/.ssh/authorized_keys")
        yield
    finally:
        for worker in bench.workers:
            bench.run(worker, "sed", "-i", "/gx10-bench$/d", "/root/.ssh/authorized_keys")
        for host in bench.cluster.hosts:
            bench.run(host, "rm", "-f", KEY, f"{KEY}.pub", TAR, RATES)


def distribution(bench: Bench, reference: str, *forgotten: str, floor: bool = False) -> Distribution:
    """Both ways for one image, the plain one first; what they leave on the workers is removed between them."""
    result = Distribution()
    bench.forget(*forgotten)
    bench.plain(reference, result)
    if floor:
        bench.loaded_at_once(reference, result)
    bench.forget(*forgotten)
    bench.ours(reference, result)
    bench.forget(*forgotten)
    alone, *others = bench.workers
    result.alone = bench.measured(alone, *bench.receive_words(reference))[0]
    bench.all_at_once(others, lambda host: bench.run(host, *bench.receive_words(reference)))
    return result


def main() -> None:
    """Measure; exits with 1 when a bound is broken."""
    description = describe("lab")
    bench = Bench(description)
    reference, changed = description.image_reference, ""
    with stopped_gang(bench):
        try:
            bench.run(bench.head, "rm", "-rf", bench.archive)
            first = distribution(bench, reference, reference, floor=True)
            unchanged_seconds, unchanged_mb = bench.unchanged(reference)
            changed = bench.changed_layer(reference)
            layer = distribution(bench, changed, changed)
        finally:
            if changed:
                bench.lab.run(bench.head, "docker", "image", "rm", "--force", changed, check=False)
                drop = [ENTRY, "archive", "drop", "--archive", bench.archive, "--image", archive_name(changed)]
                bench.lab.run(bench.head, *drop, check=False)
                bench.forget(changed)
    memory, wire = max(first.memory_mb, layer.memory_mb), max(layer.wire_mb)
    sys.stdout.write(
        f"image {reference}: {len(bench.workers)} workers, fabric of veth pairs\n"
        f"first distribution   plain {first.plain:.1f} s (save {first.plain_save:.1f}, copies "
        f"{', '.join(f'{each:.1f}' for each in first.plain_copies)})\n"
        f"                     ours  {first.ours:.1f} s (archive {first.archive:.1f}, receive {first.receive:.1f})\n"
        f"                     {first.ratio:.1f} times faster (bound {FIRST_RATIO:g}), "
        f"{max(first.wire_mb):.0f} MB a worker\n"
        f"                     of which the slowest worker's Docker unpacks for {first.unpack:.1f} s; everything takes "
        f"{first.receive / first.unpack:.2f} times this\n"
        f"                     three Dockers that load files of their own at once take {first.floor:.1f} s: receiving "
        f"takes {first.receive / first.floor:.2f} times this floor (bound {FLOOR_FACTOR:g} where the ratio is missed), "
        f"which leaves at most {first.ratio_at_most:.1f} times faster\n"
        f"                     a worker that has the processor to itself receives in {first.alone:.1f} s: with "
        f"processors of their own {first.ratio_apart:.1f} times faster\n"
        f"one {LAYER_MB} MB layer      plain {layer.plain:.1f} s, ours {layer.ours:.2f} s "
        f"(archive {layer.archive:.2f}, receive {layer.receive:.2f})\n"
        f"                     {layer.ratio:.1f} times faster (bound {LAYER_RATIO:g}), {wire:.2f} MB a worker "
        f"(bound {LAYER_MB * WIRE_FACTOR:.0f})\n"
        f"nothing changed      {unchanged_seconds:.2f} s (bound {UNCHANGED_SECONDS:g}), {unchanged_mb:.3f} MB, "
        "the reports of the supervisors\n"
        f"peak memory          {memory:.0f} MB of any process (bound {MEMORY_MB})\n"
    )
    sys.stdout.write(json.dumps({"first": asdict(first), "layer": asdict(layer)}) + "\n")
    sys.exit(
        int(
            (first.ratio < FIRST_RATIO and first.receive > FLOOR_FACTOR * first.floor)
            or layer.ratio < LAYER_RATIO
            or wire > LAYER_MB * WIRE_FACTOR
            or unchanged_seconds > UNCHANGED_SECONDS
            or unchanged_mb > REPORTS_MB
            or memory > MEMORY_MB
        )
    )


if __name__ == "__main__":
    main()

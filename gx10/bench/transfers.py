"""The lab's hosts with this package's transfer programs and shares, and nothing else: what moves weights, by itself."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from gx10_host import ENTRY
from gx10_host.content.manifest import MANIFEST

from gx10.described.host_files import PROGRAMS
from gx10.lab.lab import Lab
from gx10.settings import PROJECT

PORT = 8739
"""Beside the deployed share's own."""
SHARE = "gx10-bench-share"


@dataclass(frozen=True)
class Transfers:
    """The hosts of a lab that is up."""

    lab: Lab
    root: str
    """Directory on every host that all of it happens in."""

    @classmethod
    def on(cls, root: str) -> Transfers:
        """Bring the lab up, and the programs to its hosts."""
        lab = Lab.for_checkout(PROJECT)
        lab.up()
        found = cls(lab, root)
        for name in found.hosts:
            found.install(name)
        return found

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every host, the head first."""
        return tuple(host.name for host in self.lab.plan.hosts)

    @property
    def workers(self) -> tuple[str, ...]:
        """Every host but the head."""
        return self.hosts[1:]

    def fabric(self, name: str) -> str:
        """Address of a host on the fabric."""
        return self.lab.plan.host(name).fabric

    def run(
        self, name: str, *argv: str, check: bool = True, seconds: float = 900, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a host."""
        return self.lab.run(name, *argv, check=check, stdin=stdin, timeout_seconds=seconds)

    def python(self, name: str, program: str, *argv: str, check: bool = True) -> str:
        """Run a program's text on a host; what it printed."""
        return self.run(name, "python3", "-c", program, *argv, check=check).stdout

    def install(self, name: str) -> None:
        """Bring the programs as they stand in the checkout."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for path in [PROJECT / f"files{ENTRY}", *sorted((PROJECT / "files" / PROGRAMS).rglob("*.py"))]:
                archive.add(path, path.relative_to(PROJECT / "files"))
        ssh = ["ssh", "-F", str(self.lab.ssh_config), name]
        command = f"mkdir -p {self.root} && tar -xf - -C / --no-same-owner"
        subprocess.run([*ssh, command], input=packed.getvalue(), check=True)

    def share(self, name: str) -> None:
        """Have a share of the directory run on the host's fabric address, started again when it dies."""
        listen = ["--listen", f"{self.fabric(name)}:{PORT}", "--allow", "10.77.1.0/24"]
        self.background(name, SHARE, ENTRY, "share", *listen, "--directory", f"models={self.root}")

    def unshare(self, name: str) -> None:
        """Have no share run."""
        self.stop(name, SHARE)

    def background(self, name: str, unit: str, *argv: str) -> None:
        """Run a command on a host as a service, started again when it dies."""
        self.stop(name, unit)
        properties = ["-p", "Restart=always", "-p", "RestartSec=1", "-p", "StartLimitIntervalSec=0"]
        self.run(name, "systemd-run", "--quiet", "--collect", f"--unit={unit}", *properties, *argv)

    def stop(self, name: str, unit: str) -> None:
        """Have no such service run."""
        self.run(name, "sh", "-c", f"systemctl stop {unit} 2>/dev/null; systemctl reset-failed {unit} 2>/dev/null; :")

    def share_process(self, name: str) -> int:
        """The share's process."""
        return int(self.run(name, "systemctl", "show", "-p", "MainPID", "--value", SHARE).stdout)

    def kill_share(self, name: str) -> None:
        """Kill the sender; systemd starts it again."""
        self.run(name, "systemctl", "kill", "--signal=KILL", SHARE)

    def kill_fetch(self, name: str) -> None:
        """Kill the receiver."""
        self.run(name, "pkill", "-KILL", "-f", f"{ENTRY} content fetch", check=False)

    def cut(self, name: str) -> None:
        """Pull the cable to the fabric."""
        self.lab.cut(name, "fabric")

    def mend(self, name: str) -> None:
        """Plug it in again."""
        self.lab.mend(name)

    @property
    def key(self) -> str:
        """The private key that all hosts let in."""
        return (self.lab.ssh_config.parent / "id_ed25519").read_text()

    def fetch_words(self, model: str, *senders: str) -> list[str]:
        """The command that completes a model from other hosts."""
        urls = [word for name in senders for word in ("--url", f"http://{self.fabric(name)}:{PORT}/models/{model}")]
        return [ENTRY, "content", "fetch", *urls, "--manifest", MANIFEST, "--to", f"{self.root}/{model}"]

    def fetch(self, to: str, model: str, *senders: str) -> subprocess.CompletedProcess[str]:
        """Complete a model on a host."""
        return self.run(to, *self.fetch_words(model, *senders), check=False)

    def stage(self, name: str, model: str) -> None:
        """Describe a model that stands on a host."""
        path = f"{self.root}/{model}"
        words = [ENTRY, "content", "stage", "--source", path, "--to", path, "--name", model]
        self.run(name, *words)

    def verify(self, name: str, model: str, *more: str) -> subprocess.CompletedProcess[str]:
        """Check a model on a host."""
        path = f"{self.root}/{model}"
        words = [ENTRY, "content", "verify", "--manifest", f"{path}/{MANIFEST}", "--in", path, *more]
        return self.run(name, *words, check=False)

    def held(self, name: str, model: str) -> dict[str, str]:
        """sha256 of everything that stands at a final name, by path."""
        told: dict[str, str] = json.loads(self.python(name, HELD, f"{self.root}/{model}"))
        return told

    def partials(self, name: str, model: str) -> int:
        """Bytes in flight and arrived."""
        told = self.run(name, "sh", "-c", f"du -sb {self.root}/{model} 2>/dev/null || echo 0", check=False).stdout
        return int(told.split()[0])

    def clear(self, name: str) -> None:
        """Remove everything."""
        self.run(name, "sh", "-c", f"rm -rf {self.root}/* {self.root}/.[!.]*")


HELD = """
import hashlib, json, os, sys
told = {}
for parent, _, names in os.walk(sys.argv[1]):
    for name in names:
        path = os.path.join(parent, name)
        if name.startswith(".gx10-") or name.endswith((".partial", ".received")):
            continue
        with open(path, "rb") as content:
            told[os.path.relpath(path, sys.argv[1])] = hashlib.file_digest(content, "sha256").hexdigest()
print(json.dumps(told))
"""

MAKE = """
import os, random, sys
directory, large, size, small, most, seed = sys.argv[1], *map(int, sys.argv[2:7])
os.makedirs(directory + "/extra", exist_ok=True)
chance = random.Random(seed)
block = chance.randbytes(1 << 20)
for index in range(large):
    with open(f"{directory}/model-{index + 1:05}-of-{large:05}.safetensors", "wb") as out:
        left = size
        while left:
            # Every block differs: no tool may profit from content that repeats.
            stamp = chance.randbytes(64)
            out.write((stamp + block)[: min(left, 1 << 20)])
            left -= min(left, 1 << 20)
for index in range(small):
    with open(f"{directory}/extra/part-{index:04}.json", "wb") as out:
        out.write(chance.randbytes(chance.randrange(most)))
os.sync()
"""


def make_model(hosts: Transfers, name: str, model: str, *, large: int, size: int, small: int, seed: int = 1) -> None:
    """Write a synthetic model: large shards and small files, the same for the same seed."""
    amounts = (large, size, small, 200_000, seed)
    hosts.python(name, MAKE, str(Path(hosts.root, model)), *map(str, amounts))

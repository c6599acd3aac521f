"""The model phase on hosts, through real connections: what is done, that it was predicted, and that it is done once."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gx10_host.content.manifest import MANIFEST, digest_of_manifest, read_manifest

from gx10.drift.policy import JOURNAL_FILE, RUN, Policy
from gx10.settings import PROJECT
from gx10.weights.manifests import Manifests

from .host_side import SECONDS, command_on_path, run
from .relayed_share import Relay, relayed
from .ssh_server import Server, reachable

HOSTS = ("a", "b", "c")
MODEL = "/srv/models/org/m"
SIZE = 200_000
FILES = [f"shard-{number}" for number in range(6)]
INVENTORY = """
import json
hosts = [(f"@gx10/{name}", data) for name, data in json.load(open("hosts.json")).items()]
"""
DEPLOY = """
import json
from pathlib import Path
from gx10.operations import model
from gx10.operations.model import Hub, Weights
from gx10.weights.manifests import Manifests

described = json.load(open("weights.json"))
hub, kept_here = described.pop("hub"), described.pop("kept_here")
weights = Weights(
    **described, hub=hub and Hub(**hub), recorded=Manifests(Path("recorded").absolute(), kept_here=kept_here)
)
for name in ("weights_fit", "models_cleaned", "weights_staged", "weights_received", "manifest_recorded"):
    getattr(model, name)(name=name, weights=weights)
"""
DOCKER = """
import json, pathlib, subprocess, sys
words = sys.argv[1:]
with open(ASKED, "a") as asked:
    asked.write(" ".join(words) + "\\n")
target = words[words.index("--to") + 1]
content = [ENTRY, "content", "stage", "--source", SOURCE, "--to", target, "--name", "org/m"]
subprocess.run(content, check=True)
manifest = pathlib.Path(target, ".gx10-manifest.json")
source = {"hub": words[words.index("--repository") + 1], "revision": words[words.index("--revision") + 1]}
manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "source": source}))
"""
"""Stands for the container of the engine's image, and fetches from a directory instead of a hub."""


@dataclass(frozen=True)
class Applied:
    """What one run of the phase said and did."""

    status: int
    errors: str
    lines: list[dict[str, Any]]
    """Its journal."""

    def changed(self) -> set[tuple[str, str]]:
        """Pairs of operation and host that the run changed, or, being a dry one, said that a run would."""
        return {(line["operation"], line["host"]) for line in self.lines if line["changes"]}

    def findings(self, operation: str) -> list[tuple[str, str, str]]:
        """What differed for an operation."""
        notes = [note for line in self.lines if line["operation"] == operation for note in line["findings"]]
        return [(note["subject"], note["found"], note["described"]) for note in notes]


class Cluster:
    """Three hosts, each with its model root and two addresses of its share, and the node that deploys to them."""

    def __init__(self, root: Path, server: Server, relays: dict[str, list[Relay]]) -> None:
        self.root, self.relays, self.runs = root, relays, 0
        login = {
            "ssh_hostname": "127.0.0.1", "ssh_port": server.port, "ssh_key": "key",
            "ssh_known_hosts_file": "known_hosts", "ssh_strict_host_key_checking": "yes",
        }  # fmt: skip
        (root / "hosts.json").write_text(json.dumps({name: {**login, "ssh_user": name} for name in HOSTS}))
        (root / "inventory.py").write_text(INVENTORY)
        (root / "deploy.py").write_text(DEPLOY)
        ssh = ["-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={root}/known_hosts", "-i", f"{root}/key"]
        self.ssh = {name: ["ssh", *ssh, "-p", str(server.port), "-l", name, "127.0.0.1"] for name in HOSTS}
        for name in FILES:
            (root / "source").mkdir(exist_ok=True)
            (root / "source" / name).write_bytes(random.Random(name).randbytes(SIZE))  # noqa: S311 - content

    def on(self, host: str, path: str = MODEL) -> Path:
        """A path of a host."""
        return self.root / "hosts" / host / path.removeprefix("/")

    def hold(self, *hosts: str) -> str:
        """Have hosts hold the weights; their digest."""
        for host in hosts:
            done = run("content", "stage", "--source", self.root / "source", "--to", self.on(host), "--name", "org/m")
            assert done.returncode == 0, done.stderr
        return self.digest(hosts[0])

    def digest(self, host: str) -> str:
        """Digest of a host's manifest."""
        manifest = read_manifest(self.on(host) / MANIFEST)
        assert manifest is not None
        return digest_of_manifest(manifest)

    def held(self, host: str) -> bool:
        """Whether a host has every file as it is at the source."""
        return all((self.on(host) / name).read_bytes() == (self.root / "source" / name).read_bytes() for name in FILES)

    def asked(self, host: str) -> list[int]:
        """Bytes that a host's share sent, by each of its addresses."""
        return [relay.sent for relay in self.relays[host]]

    def apply(self, how: str = "-y", **described: object) -> Applied:
        """Run the phase."""
        self.runs += 1
        own = self.root / f"run-{self.runs}"
        own.mkdir()
        Policy().write(own)
        weights = {
            "directory": MODEL, "title": "org/m", "root": "/srv/models", "keeper": "a", "hosts": HOSTS, "hub": None,
            "shares": {name: [relay.url.removesuffix("/models") for relay in self.relays[name]] for name in HOSTS},
            "policy": {"root": "/srv/models"}, "min_free_gib": 0, "kept_here": True, "ssh": self.ssh,
        }  # fmt: skip
        (self.root / "weights.json").write_text(json.dumps({**weights, **described}))
        done = subprocess.run(
            [str(Path(sys.executable).with_name("pyinfra")), "inventory.py", "deploy.py", how],
            cwd=self.root, env={**os.environ, "GX10_CLUSTER": "lab", "PYTHONPATH": str(PROJECT), RUN: str(own)},
            capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=SECONDS, check=False,
        )  # fmt: skip
        lines = [json.loads(line) for line in (own / JOURNAL_FILE).read_text().splitlines()]
        return Applied(done.returncode, done.stdout + done.stderr, [line for line in lines if "stage" in line])

    def settled(self, **described: object) -> Applied:
        """Run the phase twice, of which the second run does nothing; the first."""
        first = self.apply(**described)
        assert first.status == 0, first.errors
        second = self.apply(**described)
        assert second.status == 0, second.errors
        assert second.changed() == set()
        assert all(map(self.held, HOSTS))
        recorded = Manifests(self.root / "recorded").digest("org/m")
        assert [recorded] * len(HOSTS) == [self.digest(name) for name in HOSTS]
        return first


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three hosts that hold nothing."""
    with ExitStack() as stack:
        relays = dict[str, list[Relay]]()
        for name in HOSTS:
            (tmp_path / "hosts" / name / "srv/models").mkdir(parents=True)
            shared = tmp_path / "hosts" / name / "srv/models"
            relays[name] = [stack.enter_context(relayed(shared)) for _ in range(2)]
        server = stack.enter_context(reachable(tmp_path, hosts=tmp_path / "hosts"))
        yield Cluster(tmp_path, server, relays)


RECORDED = ("manifest_recorded", "a")


def test_nothing_is_done_where_all_hold_the_same(cluster: Cluster) -> None:
    cluster.hold(*HOSTS)
    assert cluster.settled().changed() == {RECORDED}
    assert [cluster.asked(name) for name in HOSTS] == [[0, 0]] * 3


def test_workers_fetch_from_every_address_of_whoever_is_proven(cluster: Cluster) -> None:
    digest = cluster.hold("a", "c")
    predicted, applied = cluster.apply("--dry"), cluster.settled()
    assert predicted.changed() == applied.changed() == {("weights_received", "b"), RECORDED}
    assert applied.findings("weights_received") == [("org/m", "absent", digest[:12])]
    assert all(sent > SIZE for name in ("a", "c") for sent in cluster.asked(name))
    assert cluster.asked("b") == [0, 0]


def test_a_head_that_lost_weights_is_refilled_from_workers(cluster: Cluster) -> None:
    cluster.hold(*HOSTS)
    (cluster.on("a") / "shard-1").write_bytes(b"damaged")
    applied = cluster.settled(source="/srv/import")
    assert applied.changed() == {("weights_staged", "a"), RECORDED}
    assert applied.findings("weights_staged") == [("org/m/shard-1", "not proven", "as in the manifest")]
    assert SIZE < sum(cluster.asked("b") + cluster.asked("c")) < 2 * SIZE
    assert cluster.asked("a") == [0, 0]


EVERYWHERE = {("weights_staged", "a"), ("weights_received", "b"), ("weights_received", "c"), RECORDED}


def test_where_nobody_has_them_they_come_from_the_source(cluster: Cluster) -> None:
    (cluster.root / "source").rename(cluster.on("a", "/srv/import"))
    (cluster.root / "source").symlink_to(cluster.on("a", "/srv/import"))
    assert cluster.settled(source="/srv/import").changed() == EVERYWHERE


def test_where_nobody_has_them_they_come_from_the_control_node(cluster: Cluster) -> None:
    control = str(cluster.root / "source")
    predicted, applied = cluster.apply("--dry", control=control), cluster.settled(control=control)
    assert predicted.changed() == applied.changed() == EVERYWHERE


@pytest.fixture
def hub(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A hub's repository that a container fetches, and a token for it on the keeper."""
    entry, asked = str(PROJECT / "files/usr/local/bin/gx10-host"), str(cluster.root / "asked")
    told = f"ENTRY, SOURCE, ASKED = {entry!r}, {str(cluster.root / 'source')!r}, {asked!r}\n"
    for name, value in command_on_path(cluster.root / "bin", "docker", told + DOCKER).items():
        monkeypatch.setenv(name, value)
    cluster.on("a", "/srv/hub-token").write_text("SECRET")
    cluster.on("a", "/srv/hub-token").chmod(0o600)
    return {"repository": "org/m", "revision": "1" * 40, "image": "vllm-node:tag", "token_file": "/srv/hub-token"}


def test_where_nobody_has_them_they_come_from_the_hub_and_no_word_of_the_token_is_said(
    cluster: Cluster, hub: dict[str, str]
) -> None:
    applied = cluster.settled(hub=hub)
    assert applied.changed() == EVERYWHERE
    (words,) = (cluster.root / "asked").read_text().splitlines()
    assert "/srv/hub-token:/run/secrets/hub-token:ro" in words
    assert f"--revision {'1' * 40}" in words
    assert "SECRET" not in words + applied.errors


def test_a_token_that_others_may_read_is_refused(cluster: Cluster, hub: dict[str, str]) -> None:
    cluster.on("a", "/srv/hub-token").chmod(0o644)
    applied = cluster.apply(hub=hub)
    assert applied.status == 1
    assert "others may read the token" in applied.errors
    assert not (cluster.root / "asked").exists()


def test_the_reconcilers_copy_records_no_manifest_and_says_where_a_source_lies(cluster: Cluster) -> None:
    lost = cluster.apply(kept_here=False, control="/home/ada/model")
    assert lost.status == 1
    assert "/home/ada/model is a directory of the node that you deploy from. Deploy there." in lost.errors
    cluster.hold(*HOSTS)
    assert cluster.apply(kept_here=False).changed() == set()
    assert not (cluster.root / "recorded").exists()

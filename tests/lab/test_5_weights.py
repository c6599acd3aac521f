"""Weights on the lab: repaired from whoever is proven, the head too, and cleaned beside a served model."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from gx10.described.description import describe
from gx10.described.units import ENGINE_CONTAINER
from gx10.lab.lab import Lab

from .deployment import FLIP, HOSTS, gx10

pytestmark = pytest.mark.lab

ROOT = "/srv/models"
MODEL = "tiny-qwen3-moe"
SHARDS = [f"{ROOT}/{MODEL}/model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]


def digests(lab: Lab, host: str) -> list[str]:
    """sha256 of every shard."""
    return [line.split()[0] for line in lab.run(host, "sha256sum", *SHARDS).stdout.splitlines()]


def test_damaged_and_lost_files_come_back_from_proven_peers_the_heads_too(served: Lab) -> None:
    engine = served.run("gx10-1", "docker", "inspect", "--format", "{{.Id}}", ENGINE_CONTAINER).stdout
    right = digests(served, "gx10-4")
    served.run("gx10-1", "rm", SHARDS[0])
    served.run("gx10-1", "python3", "-c", FLIP, SHARDS[1], "5000")
    served.run("gx10-2", "python3", "-c", FLIP, SHARDS[2], "5000")
    found = gx10("models", "verify", "--full")
    assert found.returncode == 2, found.stdout + found.stderr
    assert "gx10-1: content: /srv/models/tiny-qwen3-moe holds 2 absent or damaged files" in found.stderr
    assert "gx10-2: content: /srv/models/tiny-qwen3-moe holds 1 absent or damaged files" in found.stderr
    repaired = gx10("models", "fetch")
    assert repaired.returncode == 0, repaired.stderr
    assert [digests(served, name) for name in HOSTS] == [right] * len(HOSTS)
    assert gx10("models", "verify", "--full").returncode == 0
    assert served.run("gx10-1", "docker", "inspect", "--format", "{{.Id}}", ENGINE_CONTAINER).stdout == engine


@pytest.fixture
def full(served: Lab) -> Iterator[Lab]:
    """A worker with an old model, rests of transfers and downloads, something unknown, and a link that leads out."""
    program = f"""
    set -eu
    mkdir -p {ROOT}/org {ROOT}/hub/models--org--x/blobs {ROOT}/hub/models--org--x/snapshots /srv/outside
    echo untouched > /srv/outside/victim
    cp -a {ROOT}/{MODEL} {ROOT}/org/old
    ln -s /srv/outside {ROOT}/org/old/link
    echo mine > {ROOT}/notes
    echo half > {ROOT}/{MODEL}/x.partial
    echo half > {ROOT}/hub/models--org--x/blobs/abc.incomplete
    touch -d '3 days ago' {ROOT}/{MODEL}/x.partial {ROOT}/hub/models--org--x/blobs/abc.incomplete
    """
    served.run("gx10-2", "sh", "-c", program)
    yield served
    served.run("gx10-2", "sh", "-c", f"rm -rf {ROOT}/org {ROOT}/hub {ROOT}/notes {ROOT}/{MODEL}/x.partial /srv/outside")


def test_a_clean_up_removes_what_its_plan_named_and_nothing_else(full: Lab) -> None:
    kept = full.run("gx10-2", "sh", "-c", f"cd {ROOT}; sha256sum {MODEL}/*.safetensors notes").stdout
    plan = gx10("models", "plan", "--named", "org/old", "--json")
    assert plan.returncode == 2, plan.stderr
    told = json.loads(plan.stdout)
    named = {item["path"] for item in told["gx10-2"]["items"]}
    assert named == {"org/old", f"{MODEL}/x.partial", "hub/models--org--x/blobs/abc.incomplete"}
    assert all(told[name]["items"] == [] for name in HOSTS if name != "gx10-2")
    done = gx10("models", "clean", "--named", "org/old", "-y")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gx10-2: removed 3" in done.stdout
    for path in named:
        assert full.run("gx10-2", "test", "-e", f"{ROOT}/{path}", check=False).returncode == 1
    assert full.run("gx10-2", "sh", "-c", f"cd {ROOT}; sha256sum {MODEL}/*.safetensors notes").stdout == kept
    assert full.run("gx10-2", "cat", "/srv/outside/victim").stdout == "untouched\n"


@pytest.mark.parametrize("named", [MODEL, "../outside", "/etc"])
def test_what_is_served_or_lies_outside_is_never_removed(served: Lab, named: str) -> None:
    assert describe("lab").weights.path.name == MODEL
    refused = gx10("models", "clean", "--named", named, "-y")
    assert refused.returncode == 1, refused.stdout
    assert served.run("gx10-1", "ls", SHARDS[0]).stdout

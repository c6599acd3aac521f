"""An image that somebody retagged, or whose archive was lost, is found, named and put right under a running gang."""

from __future__ import annotations

import json

import pytest

from gx10.described.description import describe
from gx10.lab.lab import Lab

from .deployment import deploy, gx10

pytestmark = pytest.mark.lab

REFERENCE = describe("lab").image_reference


def started(lab: Lab) -> str:
    """When the engine's container was started."""
    return lab.run("gx10-1", "docker", "inspect", "--format", "{{.State.StartedAt}}", "gx10-engine").stdout


def test_moved_tag_and_lost_archive_are_found_and_put_right_without_a_restart(served: Lab) -> None:
    before = started(served)
    # Another image under the described name, with the label that tells what it was built from, as a commit keeps it.
    for host in ("gx10-1", "gx10-3"):
        served.run(host, "docker", "commit", "gx10-ray", REFERENCE)
    found = gx10("images", "verify")
    assert found.returncode == 2, found.stderr
    assert "gx10-1" in found.stderr
    assert "other layers than its archive" in found.stderr
    dry = deploy("--dry")
    assert dry.predicted
    run = deploy("-y")
    assert run.status == 0, run.errors
    assert run.changed == dry.predicted
    assert gx10("images", "verify").returncode == 0
    assert started(served) == before


def test_clean_up_names_what_it_then_removes_and_keeps_what_serves(served: Lab) -> None:
    served.run("gx10-2", "sh", "-c", f"docker tag {REFERENCE} vllm-node:left-over")
    planned = json.loads(gx10("images", "gc", "--dry", "--json").stdout)
    assert "vllm-node:left-over" not in {item["name"] for item in planned}, "a container uses that image"
    served.run("gx10-2", "docker", "image", "rm", "vllm-node:left-over")
    build = "mkdir -p /tmp/left && cd /tmp/left && printf 'FROM {0}\\nLABEL gx10.inputs=old\\n' > Dockerfile && "
    served.run("gx10-1", "sh", "-c", build.format(REFERENCE) + "docker build --quiet --tag vllm-node:old . >/dev/null")
    planned = json.loads(gx10("images", "gc", "--dry", "--json").stdout)
    assert ("gx10-1", "vllm-node:old") in {(item["place"], item["name"]) for item in planned}
    done = gx10("images", "gc", "--json")
    assert done.returncode == 0, done.stderr
    assert [(item["place"], item["name"]) for item in json.loads(done.stdout)] == [
        (item["place"], item["name"]) for item in planned
    ]
    assert json.loads(gx10("images", "gc", "--dry", "--json").stdout) == []
    assert gx10("images", "verify").returncode == 0

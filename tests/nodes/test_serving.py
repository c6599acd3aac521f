"""The described engine serves: tokens come, with the described memory budget and the features that were asked for."""

from __future__ import annotations

import json

from testinfra.host import Host

from gx10.described import units
from gx10.described.description import Description


def ask(head: Host, description: Description) -> dict[str, object]:
    """A completion and the engine's own word on its cache."""
    words = f"--url {description.local_url} --model {description.served_name} --metrics"
    told: dict[str, object] = json.loads(head.check_output(f"/usr/local/bin/gx10-host completion {words}"))
    return told


def test_a_completion_is_answered(head: Host, description: Description) -> None:
    told = ask(head, description)
    assert told["tokens"]
    assert told["text"]


def test_the_engine_runs_with_the_described_budget(head: Host, description: Description) -> None:
    config = ask(head, description)["cache_config"]
    assert isinstance(config, dict)
    if description.budget_gib is not None:
        assert float(config["gpu_memory_utilization_gb"]) == description.budget_gib


def test_asked_features_were_wired_up(head: Host, description: Description) -> None:
    log = head.check_output(f"docker logs {units.ENGINE_CONTAINER} 2>&1")
    for line in description.recipe.gx10.boot_lines:
        expected = description.gpus if line.per_rank else 1
        assert log.count(line.text) >= expected, f"{line.proves}: {line.text!r} is not in the engine's log"


def test_every_rank_holds_a_gpu(head: Host, description: Description) -> None:
    told = head.check_output(f"docker exec {units.RAY_CONTAINER} ray status")
    assert f"{description.gpus}.0/{description.gpus}.0 GPU" in told

"""`gx10 status` is content only when every host is as described."""

from __future__ import annotations

from typing import Any

import pytest

from gx10.engine import gang_files, units
from gx10.engine.description import Description, describe
from gx10.engine.image_inputs import LABEL
from gx10.remote import Answer
from gx10.status import serving, status_table

GENERATION = "0123456789abcdef"


@pytest.fixture
def description() -> Description:
    """The lab's description."""
    return describe("lab")


def content_host(description: Description, host: str) -> list[dict[str, Any]]:
    """What a host answers that is as described."""
    cluster = description.cluster
    head = host == cluster.head
    active = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running"}
    parts = {gang_files.ray_unit(cluster, host): units.RAY_CONTAINER}
    parts |= {gang_files.ENGINE_UNIT: units.ENGINE_CONTAINER} if head else {}
    container = {"labels": {units.GENERATION_LABEL: GENERATION}}
    return [
        {
            "images": {description.image_reference: {"labels": {LABEL: description.inputs.digest}}},
            "containers": dict.fromkeys(parts.values(), container),
        },
        {"model": {"files": 8, "bytes": 1000, "unproven": []}},
        {"units": dict.fromkeys(parts, active)},
        {
            "models": [description.served_name] if head else None,
            "memory": {"MemTotal": 2**37, "MemAvailable": 2**36},
            "described": GENERATION,
        },
    ]


def answers(description: Description) -> dict[str, Answer]:
    """Four hosts that are as described."""
    return {host: Answer(host, value=content_host(description, host)) for host in description.cluster.hosts}


def test_a_cluster_as_described_is_in_sync(description: Description) -> None:
    assert serving(description, answers(description))


@pytest.mark.parametrize(
    ("host", "concern", "key", "value"),
    [
        ("gx10-3", 0, "images", "missing"),
        ("gx10-2", 1, "model", None),
        ("gx10-2", 1, "model", {"files": 8, "bytes": 1000, "unproven": ["config.json"]}),
        ("gx10-4", 2, "units", {}),
        ("gx10-4", 3, "described", "another"),
        ("gx10-1", 3, "models", ["another"]),
        ("gx10-1", 3, "models", None),
    ],
)
def test_one_concern_of_one_host_is_enough_to_be_out_of_sync(
    description: Description, host: str, concern: int, key: str, value: object
) -> None:
    told = answers(description)
    told[host].value[concern][key] = {description.image_reference: None} if value == "missing" else value
    assert not serving(description, told)


def test_a_host_that_does_not_answer_is_unknown_and_not_in_sync(description: Description) -> None:
    told = {**answers(description), "gx10-2": Answer("gx10-2", reason="unreachable: timed out")}
    assert not serving(description, told)
    table = status_table(description, told)
    shown = [str(cell) for column in table.columns for cell in column.cells]
    assert "unreachable: timed out" in shown
    assert shown.count("unknown") == 5

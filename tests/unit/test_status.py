"""`gx10 status` is content only when every host is as described."""

from __future__ import annotations

from typing import Any

import pytest

from gx10.engine import gang_files, units
from gx10.engine.description import Description, describe
from gx10.engine.image_inputs import LABEL
from gx10.remote import Answer
from gx10.status import gang_line, serving, status_table

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
    gang = {"phase": "serving", "life": f"{GENERATION}.7", "failures": 0, "attempts": 4, "fallback": 0, "waiting": []}
    container = {"labels": {units.GENERATION_LABEL: GENERATION}}
    return [
        {
            "images": {description.image_reference: {"labels": {LABEL: description.inputs.digest}}},
            "containers": dict.fromkeys(parts.values(), container),
        },
        {"model": {"files": 8, "bytes": 1000, "unproven": []}},
        {"units": dict.fromkeys([*parts, gang_files.GANG_UNIT], active)},
        {
            "models": [description.served_name] if head else None,
            "memory": {"MemTotal": 2**37, "MemAvailable": 2**36},
            "described": GENERATION,
            "gang": gang if head else None,
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
        ("gx10-1", 3, "gang", None),
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
    assert shown.count("unknown") == 6


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ({"phase": "gathering", "waiting": ["gx10-3 does not answer"]}, "waits: gx10-3 does not answer"),
        ({"phase": "failed", "spent": "4 attempts; the last: x"}, "4 attempts; the last: x. `gx10 start` resumes"),
        ({"fallback": 1, "fallback_name": "without MTP"}, "fallback 1 (without MTP)"),
        ({"rolled_back": {"from": "g2", "to": "g1"}}, "g2 did not start and g1 was put back"),
        ({"failures": 2}, "2 of 4 attempts failed"),
    ],
)
def test_the_gang_says_what_keeps_it_from_full_service(
    description: Description, told: dict[str, object], shown: str
) -> None:
    answered = answers(description)
    answered["gx10-1"].value[3]["gang"] |= told
    assert shown in gang_line(description, answered).plain

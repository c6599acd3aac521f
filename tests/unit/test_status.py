"""`gx10 status` is content only when every host is as described."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gx10.access.remote import Answer
from gx10.cli import main
from gx10.day_two import status as status_module
from gx10.day_two.status import gang_line, serving, status_table
from gx10.described import gang_files, units
from gx10.described.description import Description, describe
from gx10.described.image_inputs import LABEL
from gx10.probes import probe_words

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
            "memory": {"total_gib": 128.0, "available_gib": 64.0},
            "described": GENERATION,
            "gang": gang if head else None,
        },
    ]


def answers(description: Description) -> dict[str, Answer]:
    """Four hosts that are as described."""
    return {host: Answer(host, value=content_host(description, host)) for host in description.cluster.hosts}


def test_a_cluster_as_described_is_in_sync(description: Description) -> None:
    assert serving(description, answers(description))


def test_an_older_generation_stands_in_one_piece_where_the_output_is_no_terminal(
    description: Description, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = answers(description)
    told["gx10-1"].value[3]["described"] = "fedcba9876543210"
    monkeypatch.setattr(status_module, "ask_status", lambda _: told)
    shown = CliRunner().invoke(main, ["status"])
    assert shown.exit_code == 1
    assert shown.output.count("active, older generation") == 2, shown.output


def test_why_a_host_is_unreachable_stands_in_one_piece_where_the_output_is_no_terminal(
    description: Description, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = "unreachable: the way to it ended before it answered: it is off, its cable is out, or the lab is down"
    told = answers(description) | {"gx10-3": Answer("gx10-3", reason=reason)}
    monkeypatch.setattr(status_module, "ask_status", lambda _: told)
    assert reason in CliRunner().invoke(main, ["status"]).output


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


def test_a_head_that_stands_down_is_no_service(description: Description) -> None:
    answered = answers(description)
    answered["gx10-1"].value[3]["gang"] |= {"phase": "deposed", "reason": "every other host obeys gx10-2 (10.77.1.12)"}
    assert "this head stands down: every other host obeys gx10-2 (10.77.1.12)" in gang_line(description, answered).plain
    assert not serving(description, answered)


@pytest.mark.parametrize(("silent", "shown"), [(2, "still does"), (20, "last 20 s ago")])
def test_a_foreign_head_is_named_and_takes_nothing_from_the_service(
    description: Description, silent: int, shown: str
) -> None:
    answered = answers(description)
    sender = {
        "head": "gx10-9", "address": "10.77.1.19", "cluster": "lab", "orders": 12, "hosts": ["gx10-1", "gx10-2"],
        "since": 0, "last": time.time() - silent,
    }  # fmt: skip
    answered["gx10-1"].value[3]["gang"] |= {"foreign": [sender]}
    says = gang_line(description, answered).plain
    assert (
        "foreign head gx10-9 (10.77.1.19, cluster lab): 12 orders to gx10-1, gx10-2 since 1970-01-01 00:00:00" in says
    )
    assert shown in says
    assert serving(description, answered)


def test_malformed_messages_and_failed_steps_are_named(description: Description) -> None:
    answered = answers(description)
    answered["gx10-1"].value[3]["gang"] |= {
        "malformed": [{"address": "10.77.1.19", "messages": 3, "hosts": ["gx10-2"], "reason": "no JSON"}],
        "faults": [{"host": "gx10-2", "step": "judging", "times": 4, "error": "KeyError at x.py:1"}],
    }
    says = gang_line(description, answered).plain
    assert "3 malformed messages from 10.77.1.19 to gx10-2, refused: no JSON" in says
    assert "supervisor of gx10-2: judging failed 4 times: KeyError at x.py:1" in says
    assert serving(description, answered)


@pytest.mark.parametrize(
    ("suspension", "shown"),
    [
        (
            {"reason": "new disk", "until": "2999-01-31T06:00:00+00:00", "owner": "ada"},
            "nightly runs are suspended by ada until 2999-01-31 06:00 UTC: new disk; `gx10 resume` ends it",
        ),
        ({"reason": "new disk", "until": "1999-01-31T06:00:00+00:00", "owner": "ada"}, ""),
        (
            "unreadable: line 1",
            "the suspension on the head cannot be read: unreadable: line 1; `gx10 resume` removes it",
        ),
        (None, ""),
    ],
    ids=["on", "over", "damaged", "none"],
)
@pytest.mark.parametrize("supervised", [True, False])
def test_a_suspension_is_shown_with_who_until_when_and_why(
    description: Description, suspension: object, shown: str, supervised: bool
) -> None:
    answered = answers(description)
    told = answered["gx10-1"].value[3]
    told["suspension"], told["gang"] = suspension, told["gang"] if supervised else None
    says = gang_line(description, answered).plain
    assert shown in says
    assert ("suspen" in says) is bool(shown)


@pytest.mark.parametrize(("text", "told"), [('{"reason": "x"}', {"reason": "x"}), ("{", "unreadable"), (None, None)])
def test_a_host_tells_the_suspension_that_it_keeps(tmp_path: Path, text: str | None, told: object) -> None:
    path = tmp_path / "suspended.json"
    if text:
        path.write_text(text)
    words = probe_words("serving", {"url": None, "suspension": str(path)})
    answered = json.loads(subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout)
    kept = answered["suspension"]
    assert kept == told if not isinstance(told, str) else kept.startswith(told)

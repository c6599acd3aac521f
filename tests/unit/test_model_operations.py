"""What the model phase does on each host, decided from what all hosts told: without a host."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gx10.operations import model
from gx10.operations.loop import commands
from gx10.operations.model import Hub, Weights
from gx10.weights.manifests import Manifests

HOSTS = ("a", "b", "c")
GIB = 2**30


def told(digest: str | None = "d", *unproven: str, free: float = 100, missing: float = 1) -> dict[str, Any]:
    """A probe's answer."""
    found = {"digest": digest, "files": 3, "bytes": 10 * GIB, "unproven": list(unproven), "source": None}
    found["missing_bytes"] = round(missing * GIB) if unproven else 0
    answer = {"model": found if digest else None, "free": round(free * GIB), "present": 0, "cached": 0}
    return {**answer, "source_bytes": 10 * GIB, "secret": "600"}


class Run:
    """The operations on hosts that told this."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answers: dict[str, Any], **weights: object
    ) -> None:
        self.monkeypatch, self.answers = monkeypatch, answers
        self.freeable = 0
        settings: dict[str, Any] = {
            "directory": "/srv/models/org/m", "title": "org/m", "root": "/srv/models", "keeper": "a", "hosts": HOSTS,
            "shares": {name: [f"http://{name}:1", f"http://{name}-2:1"] for name in HOSTS},
            "recorded": Manifests(tmp_path), "policy": {"root": "/srv/models"}, "min_free_gib": 20,
        }  # fmt: skip
        self.weights = Weights(**{**settings, **weights})
        monkeypatch.setattr(model, "ask", self.ask)
        monkeypatch.setattr(model, "drifted", self.drifted)
        self.found: list[tuple[object, ...]] = []

    def ask(self, fact: type, on: str | None = None, **_: object) -> dict[str, Any]:
        """What a host answers."""
        if fact is model.ModelRoot:
            return {"items": [{"bytes": self.freeable}]}
        answer: dict[str, Any] = self.answers[on or model.host.name]
        return answer

    def drifted(self, *told: object, **_: object) -> bool:
        """Note a difference, and act on it."""
        self.found.append(told)
        return True

    def on(self, name: str, operation: Any) -> list[str]:  # noqa: ANN401
        """Commands of an operation on a host."""
        state = SimpleNamespace(is_executing=True)
        host = SimpleNamespace(name=name, noop=lambda _: None, state=state, print_prefix=f"[{name}] ")
        for module in (model, commands):
            self.monkeypatch.setattr(module, "host", host)
        return [command.get_raw_value() for command in operation._inner.__wrapped__(weights=self.weights)]


def test_nothing_is_done_where_all_hold_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = Run(monkeypatch, tmp_path, {name: told() for name in HOSTS})
    for operation in (model.weights_fit, model.models_cleaned, model.weights_staged, model.weights_received):
        assert [run.on(name, operation) for name in HOSTS] == [[], [], []]
    assert run.on("a", model.manifest_recorded) == ["cat -- /srv/models/org/m/.gx10-manifest.json"]


def test_workers_fetch_from_every_address_of_whoever_is_proven(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = Run(monkeypatch, tmp_path, {"a": told(), "b": told(None), "c": told()})
    (words,) = run.on("b", model.weights_received)
    for url in ("http://a:1", "http://a-2:1", "http://c:1", "http://c-2:1"):
        assert f"--url {url}/models/org/m" in words
    assert "--expect d" in words
    assert run.found == [("org/m", "absent", "d")]
    assert run.on("c", model.weights_received) == []


def test_a_head_that_lost_weights_is_refilled_from_workers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = Run(monkeypatch, tmp_path, {"a": told("d", "shard"), "b": told(), "c": told()}, source="/srv/import")
    (words,) = run.on("a", model.weights_staged)
    assert "fetch --url http://b:1/models/org/m" in words
    assert "http://a:1" not in words
    assert run.found == [("org/m/shard", "not proven", "as in the manifest")]


def test_where_nobody_has_them_they_come_from_the_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nobody = {name: told(None) for name in HOSTS}
    (words,) = Run(monkeypatch, tmp_path, nobody, source="/srv/import").on("a", model.weights_staged)
    assert "stage --source /srv/import --to /srv/models/org/m" in words
    hub = Hub("org/m", "1" * 40, "vllm-node:tag", "/etc/gx10/hub-token")
    (words,) = Run(monkeypatch, tmp_path, nobody, hub=hub).on("a", model.weights_staged)
    assert "/etc/gx10/hub-token:/run/secrets/hub-token:ro" in words
    assert f"--revision {'1' * 40}" in words
    readable = {**nobody, "a": {**told(None), "secret": "644"}}
    (refusal,) = Run(monkeypatch, tmp_path, readable, hub=hub).on("a", model.weights_staged)
    assert "others may read the token" in refusal


def test_what_does_not_fit_is_refused_before_a_byte(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = Run(monkeypatch, tmp_path, {"a": told(), "b": told(None, free=25), "c": told()})
    assert any("does not fit into /srv/models on b" in line for line in run.on("a", model.weights_fit))
    run.freeable = 6 * GIB
    assert run.on("a", model.weights_fit) == []
    (words,) = run.on("b", model.models_cleaned)
    assert words.endswith(f"gx10-host weights clean --need {30 * GIB}")
    assert run.on("c", model.models_cleaned) == []


def test_a_manifest_is_recorded_where_the_deploy_leads_to_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pinned = Hub("org/m", "1" * 40, "vllm-node:tag")
    nobody, recorded = {name: told(None) for name in HOSTS}, Manifests(tmp_path)

    def records(answers: dict[str, Any], **weights: object) -> bool:
        return bool(Run(monkeypatch, tmp_path, answers, **weights).on("a", model.manifest_recorded))

    assert records(nobody)
    recorded.record("org/m", json.dumps({"files": [], "source": {"hub": "org/m", "revision": "0" * 40}}))
    assert not records(nobody), "fresh hosts get what was recorded: a dry run must not promise a change"
    assert records(nobody, hub=pinned), "another revision than the recorded one is pinned"
    assert not records(nobody, hub=replace(pinned, revision="0" * 40))
    digest = recorded.digest("org/m")
    assert not records({**nobody, "b": told(digest)}), "a peer has what was recorded"
    assert records({name: told("another") for name in HOSTS})


def test_the_reconcilers_copy_records_no_manifest_and_says_where_a_source_lies(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copy = Manifests(tmp_path, kept_here=False)
    assert (
        Run(monkeypatch, tmp_path, dict.fromkeys(HOSTS, told()), recorded=copy).on("a", model.manifest_recorded) == []
    )
    lost = Run(monkeypatch, tmp_path, dict.fromkeys(HOSTS, told(None)), recorded=copy, control="/home/ada/model")
    (said,) = lost.on("a", model.weights_staged)
    assert "/home/ada/model is a directory of the node that you deploy from. Deploy there." in said

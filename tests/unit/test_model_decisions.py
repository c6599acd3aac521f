"""What the model phase decides where no host can show it: answers of full disks, and of each state of four records."""

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

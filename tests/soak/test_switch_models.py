"""Another model and back, beside a served one: staged and verified before anything stops, one restart each way.

Two starts of the engine long, so it has a make target of its own: `make soak-switch`.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time

import pytest

from gx10.described.units import ENGINE_CONTAINER
from gx10.lab.kit.tiny_model import CONTENT, OTHER_CONTENT
from gx10.lab.lab import Lab
from gx10.weights.choice import Choice

from ..lab.deployment import HOSTS, PROJECT, command, deploy, gx10

pytestmark = pytest.mark.lab

CHOICE = Choice(PROJECT / "clusters/lab.yaml")


class Asking:
    """A client that asks all the time, and remembers when it got which answer."""

    def __init__(self) -> None:
        self.answers: list[tuple[float, str]] = []
        self.ends = threading.Event()
        self.thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Asking:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ends.set()
        self.thread.join()

    def _ask(self) -> None:
        while not self.ends.is_set():
            done = subprocess.run([command("gx10"), "chat"], cwd=PROJECT, capture_output=True, text=True, check=False)
            self.answers.append((time.monotonic(), done.stdout if done.returncode == 0 else ""))


def restarts(lab: Lab) -> int:
    """How often the engine was started on this boot."""
    told = lab.run(
        "gx10-1", "journalctl", "-b", "-u", "vllm-engine", "-o", "json", "--output-fields=JOB_TYPE,JOB_RESULT"
    )
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    return sum(line.get("JOB_TYPE") == "start" and line.get("JOB_RESULT") == "done" for line in lines)


def switched(lab: Lab, recipe: str, content: str) -> None:
    """Switch, with a client that asks meanwhile."""
    starts = restarts(lab)
    with Asking() as asking:
        done = gx10("serve", recipe, seconds=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert CHOICE.recipe == recipe
    assert content in gx10("chat").stdout
    told = [content in answer for _, answer in asking.answers if answer]
    assert told.count(False) >= 1, "nobody was served while the other model was staged"
    assert sorted(told) == told, "the old model answered after the new one"
    assert restarts(lab) == starts + 1, "the gang was restarted more than once"
    gap = [at for at, answer in asking.answers if not answer]
    print(f"switch to {recipe}: {len(told)} answers, {len(gap)} refusals within {gap[-1] - gap[0] if gap else 0:.0f} s")


def test_another_model_is_served_and_then_the_first_again() -> None:
    lab = Lab.for_checkout(PROJECT)
    lab.up()
    text = CHOICE.path.read_text()
    assert deploy("-y").status == 0
    try:
        switched(lab, "lab-other", OTHER_CONTENT)
        assert gx10("verify", "-q").returncode == 0
        switched(lab, "lab-nemotron-3-ultra", CONTENT)
        assert CHOICE.path.read_text() == text
        for name in HOSTS:
            lab.run(name, "test", "-d", "/srv/models/tiny-qwen3-moe-other")
    finally:
        CHOICE.path.write_text(text)


def test_a_model_that_cannot_be_staged_changes_nothing() -> None:
    lab = Lab.for_checkout(PROJECT)
    text = CHOICE.path.read_text()
    engine = lab.run("gx10-1", "docker", "inspect", "--format", "{{.Id}}", ENGINE_CONTAINER).stdout
    recipe = PROJECT / "recipes/lab-missing.yaml"
    recipe.write_text((PROJECT / "recipes/lab-other.yaml").read_text().replace("-other", "-missing"))
    try:
        done = gx10("serve", "lab-missing")
    finally:
        recipe.unlink()
    assert done.returncode == 1
    assert "is served as before" in done.stderr
    assert CHOICE.path.read_text() == text
    assert lab.run("gx10-1", "docker", "inspect", "--format", "{{.Id}}", ENGINE_CONTAINER).stdout == engine
    assert CONTENT in gx10("chat").stdout

"""One rank lost: the whole gang comes back as another life. A planned restart under load cuts nobody off."""

from __future__ import annotations

import signal
import time

import pytest

from gx10.lab.lab import Lab
from tests.chaos.cases import signalled
from tests.chaos.load import Load
from tests.chaos.outside import Watcher, picture, processes

from .deployment import gx10

pytestmark = pytest.mark.lab

BACK_SECONDS = 200


def serving_after(lab: Lab, life: str) -> str:
    """Wait until another life than this one serves; returns its name."""
    deadline = time.monotonic() + BACK_SECONDS
    while True:
        now = picture(lab)
        if now and now["phase"] == "serving" and now["life"] != life:
            return str(now["life"])
        assert time.monotonic() < deadline, f"not serving again after {BACK_SECONDS} s: {now}"
        time.sleep(0.25)


def test_a_rank_that_is_killed_brings_the_whole_gang_back_as_another_life(served: Lab) -> None:
    life = serving_after(served, "")
    with Watcher(served) as watcher:
        signalled("actor of a worker", signal.SIGKILL, served)
        after = serving_after(served, life)
    assert {one.life for one in processes(served)} == {after}
    assert watcher.lives >= {life, after}
    assert watcher.violations == []
    assert "gx10-1: " in gx10("why").stdout


def test_a_planned_restart_under_load_cuts_no_request_off(served: Lab) -> None:
    life = serving_after(served, "")
    with Load(served, every=0.5, tokens=64) as load, Watcher(served) as watcher:
        assert load.answered(3, seconds=60)
        restarted = gx10("restart")
        assert restarted.returncode == 0, restarted.stdout + restarted.stderr
        assert load.answered(2, seconds=60)
    outcomes = load.outcomes()
    assert set(outcomes) <= {"ok", "refused"}, [one for one in load.results if one["outcome"] not in ("ok", "refused")]
    assert outcomes["refused"], "the door was never closed: nothing was tested"
    assert picture(served)["life"] != life  # type: ignore[index]
    assert watcher.violations == []


FOREIGN = """
import http.client, json, socket, sys
config = json.load(open("/etc/gx10/gang.json"))
own = config["hosts"][config["host"]]
for name, address in config["hosts"].items():
    if name == config["host"]:
        continue
    there = http.client.HTTPConnection(address, config["port"], timeout=5, source_address=(own, 0))
    for head in (config["host"], config["head"]):
        life = "0123456789abcdef.1"
        order = {"wire": 1, "key": f"{life} stop", "want": "stop", "life": life}
        order |= {"cluster": config["cluster"], "head": head}
        there.request("POST", "/", json.dumps(order))
        answer = there.getresponse()
        print(name, answer.status, json.load(answer)["obeys"]["head"])
"""
"""Orders every other host to stop, once as the head that this host is not and once in the name of the one that is."""


def test_an_order_that_is_not_the_heads_is_refused_by_every_host_and_named(served: Lab) -> None:
    life = serving_after(served, "")
    answers = served.run("gx10-3", "python3", "-c", FOREIGN).stdout.splitlines()
    assert answers == [f"gx10-{number} 403 gx10-1" for number in (1, 2, 4) for _ in range(2)]
    deadline = time.monotonic() + 30
    while "(10.77.1.13, cluster lab), gave" not in " ".join((says := gx10("why").stdout).split()):
        assert time.monotonic() < deadline, says
    assert len(says.splitlines()) <= 24, says
    assert "10.77.1.13" in gx10("status").stdout
    now = picture(served)
    assert now is not None
    assert (now["phase"], now["life"]) == ("serving", life)

"""Every kind of drift is found by the installed unit, on its host, in its class, and dealt with as that says."""

from __future__ import annotations

import random

import pytest

from gx10.described import watch_files
from gx10.drift.verdict import Status
from gx10.lab.lab import Lab

from ..drift.conftest import SEED
from ..drift.injections import (
    AROUND_UNITS,
    BESIDE,
    CONTENT,
    EVERY,
    FILES,
    GANG,
    OWN,
    REPORTED,
    UNITS_AND_LIVE,
    Injection,
)
from ..drift.nights import Night, host_for, inject, pairs, undo
from ..lab.deployment import HOSTS, deploy
from .installed import HEAD
from .installed import night as made_night

pytestmark = pytest.mark.lab


def test_there_are_enough_kinds() -> None:
    assert len({injection.name for injection in EVERY}) >= 40


@pytest.mark.parametrize(
    ("host", "script", "said"),
    [
        (HEAD, f"sed -i 1d {watch_files.ROOT}/known_hosts", "Host key verification failed"),
        (
            HOSTS[3],
            "sed -i /gx10-reconcile@/d /root/.ssh/authorized_keys",
            "put this node's public key into that user's",
        ),
    ],
    ids=["known hosts", "key"],
)
def test_a_night_that_cannot_log_in_any_more_says_so_and_a_deploy_puts_it_right(
    host: str, script: str, said: str, lab: Lab
) -> None:
    lab.run(host, "sh", "-c", script)
    try:
        made = made_night(lab)
        assert (made.status, made.report.status) == (1, Status.UNKNOWN)
        assert said in made.report.reason
    finally:
        put_right = deploy("-y")
    assert put_right.status == 0, put_right.errors
    assert made_night(lab).report.status is Status.IN_SYNC


def in_the_way(one: Injection, other: Injection) -> bool:
    """Whether two injections on one host cannot be told apart in one night."""
    return one.alone or other.alone or one.subject == other.subject


def apart(injections: tuple[Injection, ...], chance: random.Random) -> list[list[tuple[Injection, str]]]:
    """Nights in which no two injections touch the same thing on the same host."""
    nights: list[list[tuple[Injection, str]]] = []
    for injection in injections:
        host = host_for(injection, chance)
        for night in nights:
            if not any(where == host and in_the_way(injection, other) for other, where in night):
                night.append((injection, host))
                break
        else:
            nights.append([(injection, host)])
    return nights


@pytest.mark.parametrize(
    "kinds",
    [FILES, UNITS_AND_LIVE, GANG, CONTENT, REPORTED, AROUND_UNITS, BESIDE, OWN],
    ids=["files", "units and live", "gang", "content", "reported", "around units", "beside", "own"],
)
def test_every_kind_is_found_and_dealt_with(kinds: tuple[Injection, ...], lab: Lab) -> None:
    print(f"GX10_SEED={SEED}")
    for night in apart(kinds, random.Random(SEED)):  # noqa: S311 - not for secrets
        try:
            for injection, host in night:
                inject(lab, injection, host)
            hold(made_night(lab), night)
        finally:
            undo(lab, night)
    quiet = made_night(lab)
    assert (quiet.status, quiet.report.operations) == (0, []), f"seed {SEED}: {quiet.report.left}"


def hold(found: Night, night: list[tuple[Injection, str]]) -> None:
    """Hold a night to what was injected, and to having done what it predicted."""
    report = found.report
    forgotten = any("applied.json" in injection.script for injection, _ in night)
    for injection, host in night:
        about = found.about(injection, host)
        told = f"seed {SEED}: {injection.name} on {host}: {report.reason} {report.operations}"
        assert about, told
        assert injection.drift in {one.drift for one in about}, told
        assert {one.decision for one in about if one.drift is injection.drift} == {injection.decision}, told
        if not injection.reported:
            assert all(one.result == "changed" for one in about if one.drift is injection.drift), told
        assert all(one.corrective or forgotten for one in about), told
    touched = {host for _, host in night}
    assert {one.host for one in report.operations} <= touched | {"gx10-1"}, f"seed {SEED}: another host was blamed"
    predicted, applied = pairs(report)
    assert (predicted, report.unpredicted) == (applied, []), f"seed {SEED}"
    reported = [injection for injection, _ in night if injection.reported]
    verdicts = {Status.DRIFTED if reported else Status.HEALED}
    if reported and len(reported) < len(night) and "tests/nodes/" in report.reason:
        verdicts.add(Status.FAILED)  # What is only told of can be what a check on the nodes fails on.
    assert report.status in verdicts, f"seed {SEED}: {report.reason}"
    # A drop-in for every service is one of Docker as well, which is told for itself.
    daemons = (one.partition(": Docker daemon, drop-in ")[2] for one in report.left)
    twice = [path for path in daemons if path and any(one.endswith(f": {path}") for one in report.left)]
    assert len(report.left) - len(twice) == len(reported), f"seed {SEED}: {report.left}"

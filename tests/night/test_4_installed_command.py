"""Every verb of the installed command, for whom it is and for whom it is not; none changes a file that is described."""

from __future__ import annotations

import re

import pytest

from gx10.described import watch_files
from gx10.lab.lab import Lab

from .installed import HEAD, commands, fingerprint_of

pytestmark = pytest.mark.lab

COMMAND = watch_files.COMMAND
DESCRIBED = (watch_files.ROOT, "/etc/gx10", "/etc/systemd/system", "/usr/local/lib/gx10")

VERBS = (
    ("status", 0, r"gang: serving \w+\.\d+"),
    ("why", 0, r"The gang serves as \w+\.\d+"),
    ("logs --lines 3", 0, r"gx10-\d \S+ \S+ "),
    ("chat 'Say hello.'", 0, r"nvidia/nemotron-3-ultra: .*\(\d+ tokens in [\d.]+ s\)"),
    ("plan", 0, r"^lab: in sync"),
    ("reconcile --no-sample", 0, r"^lab: in sync"),
    ("history", 0, r"\d{8}T\d{6}Z-\d+ +reconcile +in sync"),
    ("diff -2 -1", 0, r"^"),
    ("suspend 'swapping a disk' --until 1h", 0, r"Suspended until .*gx10 resume"),
    ("resume", 0, r"Runs change things again"),
    ("models list", 0, r"tiny-qwen3-moe +│ model"),
    ("images list", 0, r"16 layers|\d+ layers"),
    ("verify -q", 0, r"\d+ passed"),
    ("serve lab-other", 64, r"Run `gx10 serve` where you deploy from"),
    ("images lock", 64, r"Run `gx10 images lock` where you deploy from"),
    ("lab status", 64, r"Run `gx10 lab` where you deploy from"),
)


@pytest.mark.parametrize("who", ["root", watch_files.USER])
def test_every_verb_answers_whoever_may_and_changes_nothing_described(lab: Lab, who: str) -> None:
    before = fingerprint_of(lab, DESCRIBED)
    for words, expected, sentence in VERBS:
        status, said = commands(lab, f"{COMMAND} {words}", who)
        assert status == expected, f"{who}: {words} ended with {status}: {said}"
        assert re.search(sentence, said, re.MULTILINE | re.DOTALL), f"{who}: {words} said {said}"
        assert "Traceback" not in said
    assert fingerprint_of(lab, DESCRIBED) == before
    # What root has run is still the reconciler's: the next night reads and writes all of it.
    others = f"find {watch_files.HOME} ! -user {watch_files.USER}"
    assert lab.run(HEAD, "sh", "-c", others).stdout == ""


def test_whoever_may_not_is_told_who_may(lab: Lab) -> None:
    status, said = commands(lab, f"{COMMAND} status", "nobody")
    assert status == 1
    assert re.search(
        r"gx10-1: nobody may not run this: .* Root may, and gx10-reconcile: `sudo /opt/gx10/bin/gx10", said
    )


def test_the_lock_and_a_suspension_name_the_person_and_not_the_reconciler(lab: Lab) -> None:
    assert commands(lab, f"SUDO_USER=ada {COMMAND} suspend 'swapping a disk' --until 1h")[0] == 0
    try:
        status, said = commands(lab, f"{COMMAND} reconcile")
    finally:
        assert commands(lab, f"{COMMAND} resume")[0] == 0
    assert status == 0
    assert "suspended by ada until" in said


def test_the_callers_environment_decides_nothing(lab: Lab) -> None:
    script = (
        f"mkdir -p /tmp/evil; echo 'raise SystemExit(9)' > /tmp/evil/click.py; PYTHONPATH=/tmp/evil {COMMAND} history"
    )
    status, said = commands(lab, script)
    assert status == 0, said

"""The night as it is installed: the unit by systemctl on the head, its report, its metrics, and what its hook was told.

Nothing here runs from the checkout but the deploy, which is how an owner changes what is installed.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import yaml
from prometheus_client.parser import text_string_to_metric_families

from gx10.described import watch_files
from gx10.lab.lab import Lab
from gx10.reconcile.report import Report

from ..drift.nights import Night
from ..lab.deployment import HOSTS, PROJECT, deploy

HEAD = HOSTS[0]
CLUSTER = PROJECT / "clusters/lab.yaml"
STATE = f"{watch_files.HOME}/lab"
RUNS = f"{STATE}/runs"
METRICS = "/var/lib/prometheus/node-exporter/gx10_reconcile.prom"
HOOK, HOOK_LOG = "/usr/local/bin/note-the-night", f"{watch_files.HOME}/hook.log"
HOOK_PROGRAM = f"""#!/bin/sh
# Notes what it is told in the one directory that it may write.
{{ printf '%s|%s|%s|' "$GX10_CLUSTER" "$GX10_STATUS" "$GX10_EXIT"; tr -d '\\n'; echo; }} >> {HOOK_LOG}
"""
SECONDS = 900


@dataclass(frozen=True)
class Unit:
    """What systemd says of a unit."""

    result: str
    status: int
    active: str
    known: bool = True
    """Whether systemd still knows its last start: it forgets a unit that nothing refers to any more."""


def unit(lab: Lab, name: str = watch_files.SERVICE) -> Unit:
    """Ask systemd on the head."""
    words = ("systemctl", "show", "--property=Result,ExecMainStatus,ActiveState,InvocationID", name)
    shown = dict(line.split("=", 1) for line in lab.run(HEAD, *words).stdout.split())
    known = bool(shown["InvocationID"])
    return Unit(shown["Result"], int(shown["ExecMainStatus"]), shown["ActiveState"], known)


def run_names(lab: Lab) -> list[str]:
    """Names of the runs that the installed reconciler has made, the oldest first."""
    return sorted(lab.run(HEAD, "sh", "-c", f"ls {RUNS} 2>/dev/null", check=False).stdout.split())


def report(lab: Lab, name: str) -> Report:
    """The report of a run."""
    return Report.model_validate(json.loads(lab.run(HEAD, "cat", f"{RUNS}/{name}/report.json").stdout))


def begin(lab: Lab, *, check: bool = True) -> None:
    """Start the unit as the timer does, without waiting for its end."""
    lab.run(HEAD, "systemctl", "reset-failed", watch_files.SERVICE, watch_files.FAILED, check=False)
    lab.run(HEAD, "systemctl", "start", "--no-block", watch_files.SERVICE, check=check)


def night(lab: Lab, while_it_runs: Callable[[], None] | None = None) -> Night:
    """`systemctl start gx10-reconcile.service`, to its end and that of what it triggers; its report, held to the unit's
    own word."""
    before = run_names(lab)
    started = time.monotonic()
    begin(lab)
    try:
        until(lambda: run_names(lab) != before, "the unit begins a run", 60)
        if while_it_runs:
            while_it_runs()
    finally:
        ended(lab)
    seconds = time.monotonic() - started
    (name,) = set(run_names(lab)) - set(before)
    made = report(lab, name)
    told = unit(lab)
    if not told.known:
        return Night(made.exit_status, made, seconds)
    assert told.status == made.exit_status or made.finished is None, (told, made.reason)
    assert (told.result == "success") == (told.status in (0, 2, 75)), told
    return Night(told.status, made, seconds)


def ended(lab: Lab, seconds: float = SECONDS) -> None:
    """Wait until neither the unit nor the word of its failure runs."""
    quiet = ("inactive", "failed")
    names = (watch_files.SERVICE, watch_files.FAILED)
    until(lambda: all(unit(lab, name).active in quiet for name in names), "the unit ends", seconds)


def until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait for a condition, with a bound."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.2)


def step_begun(lab: Lab, step: str) -> bool:
    """Whether the latest run has begun a step."""
    names = run_names(lab)
    text = lab.run(HEAD, "sh", "-c", f"cat {RUNS}/{names[-1]}/report.json 2>/dev/null", check=False).stdout
    return any(entry["name"] == step for entry in json.loads(text)["steps"]) if text else False


def prometheus(lab: Lab) -> dict[str, float]:
    """Samples that node_exporter would read, by name and sorted labels, as it may read them: world-readable, in a
    directory that is."""
    text = lab.run(HEAD, "runuser", "-u", "nobody", "--", "cat", METRICS).stdout
    told = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))
            told[f"{sample.name}{{{labels}}}"] = sample.value
    return told


def hook_lines(lab: Lab) -> list[tuple[str, dict[str, object]]]:
    """What the hook was told: its status by the environment, and the document."""
    text = lab.run(HEAD, "sh", "-c", f"cat {HOOK_LOG} 2>/dev/null", check=False).stdout
    lines = [line.split("|", 3) for line in text.splitlines()]
    return [(status, json.loads(document)) for _, status, _, document in lines]


def install_hook(lab: Lab) -> None:
    """Put the owner's hook onto the head, and forget what it was told."""
    lab.run(HEAD, "sh", "-c", f"cat > {HOOK} && chmod 755 {HOOK} && rm -f {HOOK_LOG}", stdin=HOOK_PROGRAM)


def injected(lab: Lab, host: str, script: str) -> None:
    """Run a script on a host, as somebody at it would."""
    lab.run(host, "sh", "-euc", script)


@contextmanager
def described(**changes: object) -> Iterator[None]:
    """Deploy another `reconcile:` of the lab's cluster file, and the owner's own afterwards.

    `changes` are keys of `reconcile`.
    """
    own = CLUSTER.read_text(encoding="utf-8")
    CLUSTER.write_text(changed(own, changes), encoding="utf-8")
    try:
        deployed()
        yield
    finally:
        CLUSTER.write_text(own, encoding="utf-8")
        deployed()


def changed(text: str, changes: Mapping[str, object]) -> str:
    """A cluster file with other keys of `reconcile`."""
    cluster = yaml.safe_load(text)
    cluster["reconcile"] = {**cluster.get("reconcile", {}), **changes}
    return yaml.safe_dump(cluster, sort_keys=False)


def deployed() -> None:
    """Deploy, as the owner does."""
    run = deploy("-y")
    assert run.status == 0, run.errors


def commands(lab: Lab, script: str, who: str = "root") -> tuple[int, str]:
    """Run a script on the head as a user, from its home or from /; status and everything it said."""
    words = ("runuser", "-u", who, "--", "sh", "-c", f"cd /; {{ {script}; }} 2>&1")
    done = lab.run(HEAD, *words, check=False, timeout_seconds=SECONDS)
    return done.returncode, done.stdout + done.stderr


def fingerprint_of(lab: Lab, directories: Sequence[str], host: str = HEAD) -> str:
    """Names, modes, owners and digests of everything below directories."""
    roots = " ".join(shlex.quote(name) for name in directories)
    script = f"find {roots} -printf '%p %m %u %y\\n' | sort; find {roots} -type f -exec sha256sum {{}} + | sort -k 2"
    return lab.run(host, "sh", "-c", script).stdout


def long_request(lab: Lab, tokens: int) -> list[str]:
    """The command that asks the engine on the head for so many tokens."""
    from gx10.described.description import describe  # noqa: PLC0415 - only here

    served = describe("lab")
    body = {"model": served.served_name, "prompt": "Go on.", "max_tokens": tokens, "ignore_eos": True}
    words = f"curl -sS --max-time 600 -H 'Content-Type: application/json' -d {shlex.quote(json.dumps(body))}"
    return ["ssh", "-F", str(lab.ssh_config), HEAD, f"{words} {served.local_url}/v1/completions"]

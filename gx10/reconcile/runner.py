"""pyinfra as a reconciler can rely on it: its dry run and its run, with what it leaves open closed here and only here.

What pyinfra 3.10.0 does, and what is made of it (each has a test in tests/unit/test_reconcile_runner.py):

1. It exits 0 with changes pending, after SIGINT, after a declined prompt and for an empty inventory: its exit status
   alone never means success. Success is status 0, a JSON document whose hosts are the described ones, and a journal in
   which every one of them was looked at.
2. It exits 1 without any JSON when a host failed; the journal on disk then says how far it came.
3. Its usage error is 2, which is this package's "drift": no status of its is ever passed on.
4. PYINFRA_YES, or `-y` in a dry run, turns the comparison off: the environment is cleaned, the options are fixed.
5. `--no-wait` hides failures, `--limit` and `--exclude` hide hosts, `--diff` shows contents: none is ever passed.
6. Operations with `_if` are listed as conditional, converged or not: they are not counted, and none is allowed.
7. An unnamed operation puts its arguments into the JSON: none is allowed, and arguments are never kept.
8. Two operations on the same line numbers become one with two names: refused.
9. "error" in its results also means "never ran, since the host had failed before": the journal tells them apart.
10. A prompt on a terminal would wait for ever: standard input is closed.
11. It outlives whoever started it: it is killed with this process, and holds the locks until it is gone.
12. `python -m pyinfra` makes blocking calls cooperative too late, and waits for ever behind a ProxyCommand: its own
    script is run.
13. Operations that it predicts must be those that said so themselves in the journal.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gx10.drift.findings import Item, Journal, Looked, ignored, items
from gx10.drift.policy import JOURNAL_FILE, RUN, Policy

Pairs = frozenset[tuple[str, str]]
"""Pairs of an operation's name and a host."""

GRACE_SECONDS = 10
DROPPED = "PYINFRA_"
"""Beginning of the environment variables that pyinfra takes options from."""


class RunnerError(Exception):
    """pyinfra came to no result that can be trusted; a sentence says why. Carries what the journal knows."""

    def __init__(self, sentence: str, journal: Journal | None = None) -> None:
        super().__init__(sentence)
        self.journal = journal or Journal()


@dataclass(frozen=True)
class Plan:
    """What a deploy would change, and everything else that was found."""

    items: tuple[Item, ...]
    ignored: tuple[tuple[Looked, Any], ...]
    predicted: Pairs
    seconds: float


@dataclass(frozen=True)
class Applied:
    """What a deploy changed."""

    changed: Pairs
    failed: Pairs
    skipped: Pairs
    """What did not run any more after a failure."""
    seconds: dict[tuple[str, str], float]
    took: float
    error: str = ""


@dataclass
class Raw:
    """What one process of pyinfra left behind."""

    status: int
    output: str
    errors: str
    seconds: float = 0


Process = Callable[[list[str], Path, Mapping[str, str]], Raw]
"""Runs a command in a directory with an environment."""


@dataclass
class Runner:
    """Runs pyinfra on the described hosts."""

    project: Path
    hosts: tuple[str, ...]
    process: Process
    commands: list[list[str]] = field(default_factory=list)

    def plan(self, directory: Path, policy: Policy) -> Plan:
        """What a deploy would change; raises RunnerError unless every host was looked at."""
        raw, journal = self._run(["--dry"], directory, policy)
        told = self._document(raw, journal)
        if raw.status:
            raise RunnerError(f"the dry run ended with status {raw.status}: {reason_of(raw.errors)}", journal)
        self._all_looked_at(journal, "plan")
        predicted = frozenset((entry["name"], host) for entry in told["plan"] for host in entry["hosts_with_change"])
        for entry in told["plan"]:
            _plain(entry, journal)
            if entry["hosts_with_conditional_change"]:
                raise RunnerError(f"{entry['name']} is conditional: nobody can tell whether it is due", journal)
        # Only a journal line can say that something differs; only pyinfra, that it will act. They must agree.
        if predicted != journal.changing("plan"):
            odd = sorted(predicted ^ journal.changing("plan"))
            raise RunnerError(f"plan and journal differ in {odd[0][0]} on {odd[0][1]}", journal)
        looked = [one for one in journal.looked if one.stage == "plan"]
        return Plan(items(looked), ignored(looked), predicted, raw.seconds)

    def apply(self, directory: Path, policy: Policy) -> Applied:
        """Run a deploy; a failure of an operation is in the result, one of pyinfra itself raises RunnerError."""
        raw, journal = self._run(["--yes"], directory, policy)
        ended = {(event["operation"], event["host"]): event for event in journal.of("done", "failed")}
        seconds = {pair: float(event["seconds"]) for pair, event in ended.items()}
        failed = frozenset(pair for pair, event in ended.items() if event["event"] == "failed")
        if not raw.output.strip() or raw.status:
            if not failed:
                raise RunnerError(f"the deploy ended with status {raw.status}: {reason_of(raw.errors)}", journal)
            done = frozenset(ended) - failed
            changed = frozenset(pair for pair in done if pair in journal.changing("apply"))
            return Applied(changed, failed, frozenset(), seconds, raw.seconds, reason_of(raw.errors))
        told = self._document(raw, journal)
        self._all_looked_at(journal, "apply")
        results = told["results"]["operations"]
        for entry in results:
            _plain(entry, journal)
        errors = {(entry["name"], host) for entry in results for host in entry["error"]}
        changed = frozenset((entry["name"], host) for entry in results for host in entry["success"])
        if told["results"].get("failed_hosts") or errors:
            return Applied(
                changed, failed, frozenset(errors - failed), seconds, raw.seconds, reason_of(raw.errors) or "failed"
            )
        return Applied(changed, failed, frozenset(), seconds, raw.seconds)

    def _run(self, options: list[str], directory: Path, policy: Policy) -> tuple[Raw, Journal]:
        directory.mkdir(parents=True, exist_ok=True)
        policy.write(directory)
        words = [str(Path(sys.executable).with_name("pyinfra")), "inventory.py", "deploy.py", "--json", *options]
        self.commands.append(words)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
        environment[RUN] = str(directory)
        raw = self.process(words, self.project, environment)
        (directory / "errors.log").write_text(raw.errors, encoding="utf-8")
        return raw, Journal.read(directory / JOURNAL_FILE)

    def _document(self, raw: Raw, journal: Journal) -> dict[str, Any]:
        try:
            told = json.loads(raw.output)
        except ValueError:
            raise RunnerError(
                f"pyinfra ended with status {raw.status} and no result: {reason_of(raw.errors)}", journal
            ) from None
        if not isinstance(told, dict):
            raise RunnerError("pyinfra's result is no object", journal)
        return told

    def _all_looked_at(self, journal: Journal, stage: str) -> None:
        missing = sorted(set(self.hosts) - journal.hosts(stage))
        if missing:
            raise RunnerError(f"the deploy did not look at {', '.join(missing)}", journal)


def _plain(entry: dict[str, Any], journal: Journal) -> None:
    if len(entry["names"]) != 1:
        raise RunnerError(f"pyinfra takes {' and '.join(entry['names'])} for one operation", journal)
    if entry["args"]:
        raise RunnerError(f"an operation has no name: {entry['names'][0]}", journal)


def reason_of(errors: str) -> str:
    """The sentence in pyinfra's log that says what went wrong, without its colours."""
    plain = [_uncoloured(line).strip() for line in errors.splitlines()]
    lines = [line for line in plain if line and not line.startswith(("-->", "Traceback", "File ", "  "))]
    telling = [line for line in lines if any(word in line for word in ("cannot be", ": ", "Error", "error"))]
    return (telling or lines or ["it said nothing"])[-1][:300]


def _uncoloured(line: str) -> str:
    out, inside = [], False
    for character in line:
        if character == "\x1b":
            inside = True
        elif inside:
            inside = character != "m"
        else:
            out.append(character)
    return "".join(out)


def killed_with_us(descriptors: tuple[int, ...] = ()) -> Process:
    """Runs pyinfra so that it does not outlive this process, and keeps these descriptors open for as long as it lives.

    setpriv asks the kernel to kill it when its parent is gone; a remote command that it had started may go on.
    """

    def process(words: list[str], directory: Path, environment: Mapping[str, str]) -> Raw:
        started = time.monotonic()
        with subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *words],
            cwd=directory,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            pass_fds=descriptors,
            # A Ctrl-C is this process's to answer: pyinfra would exit 0.
            start_new_session=True,
        ) as running:
            try:
                output, errors = running.communicate()
            except BaseException:
                _end(running)
                raise
        return Raw(running.returncode, output, errors, time.monotonic() - started)

    return process


def _end(running: subprocess.Popen[str]) -> None:
    """End pyinfra and wait until it is gone: while it lives, it could still act."""
    running.terminate()
    try:
        running.communicate(timeout=GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        running.kill()
        running.communicate()

"""One command on every host at once, over OpenSSH with the cluster's own access settings."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from gx10_host import ENTRY
from gx10_host.exits import NOT_FOUND

from gx10.described.description import Description

from .login import ssh_arguments

UNREACHABLE = 255
"""Exit status of ssh itself, as opposed to the command's."""


@dataclass(frozen=True)
class Answer:
    """What a host answered; `reason` says why it did not."""

    host: str
    value: Any = None
    reason: str = ""
    output: str = ""
    """What the command printed, also where it failed."""
    status: int | None = None
    """Exit status of the command; None where it was never known: no login, no answer in time."""

    @property
    def ok(self) -> bool:
        """Whether it answered."""
        return not self.reason


def run(
    description: Description, host: str, command: list[str], seconds: float = 30, stdin: str | None = None
) -> Answer:
    """Run a command on a host, with a text as its standard input; the answer holds its standard output."""
    return run_by(ssh_arguments(description, host), host, command, seconds, stdin)


def run_by(
    login: Sequence[str], host: str, command: list[str], seconds: float = 30, stdin: str | None = None
) -> Answer:
    """The same, where the ssh command that logs in is at hand."""
    words = [*login, shlex.join(command)]
    try:
        # Never this process's own input, which ssh would read away from whoever is asked something next.
        done = subprocess.run(
            words, input=stdin or "", capture_output=True, text=True, errors="replace", timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return Answer(host, reason=f"no answer within {seconds:g} s")
    if done.returncode == UNREACHABLE:
        return Answer(host, reason=failed_because(command, done.returncode, done.stderr))
    if done.returncode:
        reason = failed_because(command, done.returncode, done.stderr)
        return Answer(host, reason=reason, output=done.stdout or "", status=done.returncode)
    return Answer(host, value=done.stdout, output=done.stdout or "", status=0)


def run_all(
    description: Description, question: Callable[[str], list[str]], hosts: Iterable[str], seconds: float = 30
) -> dict[str, Answer]:
    """Run a command on hosts at once; a question is the command for a host."""
    names = list(hosts)
    with ThreadPoolExecutor(max(1, len(names))) as pool:
        answers = pool.map(lambda host: run(description, host, question(host), seconds), names)
        return {answer.host: answer for answer in answers}


def ask(
    description: Description, question: Callable[[str], list[str]], hosts: Iterable[str], seconds: float = 30
) -> dict[str, Answer]:
    """Run a command on hosts at once, of whose answers each line must be JSON."""
    return {host: _parsed(answer) for host, answer in run_all(description, question, hosts, seconds).items()}


def _parsed(answer: Answer) -> Answer:
    if not answer.ok:
        return answer
    try:
        return Answer(answer.host, value=[json.loads(line) for line in answer.value.splitlines()])
    except ValueError:
        return Answer(answer.host, reason=f"answered no JSON: {answer.value[:80]!r}")


def _unreachable(errors: str) -> str:
    """What ssh says, in words; behind a ProxyCommand it knows no port, and says 65535."""
    line = _last_line(errors)
    if "UNKNOWN port" in line:
        return "the way to it ended before it answered: it is off, its cable is out, or the lab is down"
    return line


def failed_because(command: Sequence[str], status: int, errors: str) -> str:
    """Why a command failed on a host: what it says last, or ssh; this package's own that is not there says that
    nothing was deployed."""
    if status == UNREACHABLE:
        return f"unreachable: {_unreachable(errors)}"
    if status == NOT_FOUND and command[0] == ENTRY:
        return "nothing was deployed to it yet: run `pyinfra inventory.py deploy.py`"
    return _last_line(errors) or f"{command[0]} ended with status {status}"


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""

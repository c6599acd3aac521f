"""One command on every host at once, over OpenSSH with the cluster's own access settings."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from gx10_host import ENTRY
from gx10_host.exits import NOT_FOUND

from gx10.described.description import Description

from .login import ssh_arguments
from .refused import remedy

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
    return _answer(host, command, done.returncode, done.stdout or "", done.stderr)


def _answer(host: str, command: Sequence[str], status: int, output: str, errors: str) -> Answer:
    """What a command's end comes to."""
    if status == UNREACHABLE:
        return Answer(host, reason=failed_because(command, status, errors))
    if status:
        return Answer(host, reason=failed_because(command, status, errors), output=output, status=status)
    return Answer(host, value=output, output=output, status=0)


def run_all(
    description: Description, question: Callable[[str], list[str]], hosts: Iterable[str], seconds: float = 30
) -> dict[str, Answer]:
    """Run a command on hosts at once; a question is the command for a host."""
    with running(description, question, hosts, seconds) as answers:
        return answers()


@contextmanager
def running(
    description: Description, question: Callable[[str], list[str]], hosts: Iterable[str], seconds: float = 30
) -> Iterator[Callable[[], dict[str, Answer]]]:
    """The same, beside something else: yields what waits for the answers. What runs still when the context is left,
    whatever the reason, is ended."""
    words = {host: question(host) for host in hosts}
    until = time.monotonic() + seconds
    begun: dict[str, subprocess.Popen[str]] = {}

    def answer(host: str) -> Answer:
        try:
            output, errors = begun[host].communicate(timeout=max(0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            return Answer(host, reason=f"no answer within {seconds:g} s")
        return _answer(host, words[host], begun[host].returncode, output, errors)

    with ExitStack() as ended:
        for host, command in words.items():
            begun[host] = ended.enter_context(
                subprocess.Popen(
                    [*ssh_arguments(description, host), shlex.join(command)],
                    stdin=subprocess.DEVNULL,  # never this process's own, which ssh would read away
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    errors="replace",
                )
            )
            ended.callback(begun[host].kill)
        yield lambda: {host: answer(host) for host in words}


def ask(
    description: Description, question: Callable[[str], list[str]], hosts: Iterable[str], seconds: float = 30
) -> dict[str, Answer]:
    """Run a command on hosts at once, of whose answers each line must be JSON."""
    return parsed(run_all(description, question, hosts, seconds))


def parsed(answers: Mapping[str, Answer]) -> dict[str, Answer]:
    """Answers of which each line must be JSON."""
    return {host: _parsed(answer) for host, answer in answers.items()}


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
    what = remedy(errors)
    return f"{line.rstrip('.')}: {what}" if what else line


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

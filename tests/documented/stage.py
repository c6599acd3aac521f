"""Where commands are typed, as a person would: the control node or a host of the lab; what they said is kept."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gx10.lab.lab import Lab
from gx10.settings import PROJECT

from .extract import PROMPT

HEAD, VICTIM = "gx10-1", "gx10-3"
SECONDS = 1500
HEALING_DEPLOYS = 2
FILLED = {
    "HOST": VICTIM,
    "HEAD": HEAD,
    "192.0.2.13": "10.77.0.13",
    "198.51.100.12": "10.77.1.12",
}
"""What stands on the lab for what a page leaves to its reader: names in capitals, and addresses for documentation."""
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
OWN_SSH = """
mount -t tmpfs tmpfs ~/.ssh && cp "$LAB_SSH"/known_hosts ~/.ssh/known_hosts && chmod 600 ~/.ssh/known_hosts
sed "s#$LAB_SSH/known_hosts#~/.ssh/known_hosts#" "$LAB_SSH"/config > ~/.ssh/config
"""


class PageFaultError(AssertionError):
    """Something is not as its page says."""


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    status: int
    text: str
    seconds: float


def checkout() -> Path:
    """The checkout whose lab is used: a checkout may share another's by a link to its `.lab`."""
    own = PROJECT / ".lab"
    return own.resolve().parent if own.exists() else PROJECT


def plain(text: str) -> str:
    """Output as it is compared: without colours, frames of tables, marks of code and breaks of lines."""
    return " ".join(re.sub(r"[`│┃┏┓┗┛━─┌┐└┘├┤┼┡┩╇┳┻]", " ", ESCAPES.sub("", text)).split())


@dataclass
class Stage:
    """One situation: the lab, what the shell of the person who types was told, and all that was said."""

    state: Path
    """Where runs are kept."""
    lab: Lab = field(default_factory=lambda: Lab.for_checkout(checkout()))
    project: Path = PROJECT
    environment: dict[str, str] = field(default_factory=dict)
    within: tuple[str, ...] = ()
    """What a command of the control node is run by, such as one that puts it into another network."""
    transcript: list[str] = field(default_factory=list)

    def type(
        self,
        text: str,
        fill: Mapping[str, str] | None = None,
        answer: str = "",
        seconds: float = SECONDS,
        *,
        terminal: bool = False,
    ) -> Said:
        """Type a command as a page has it, where the page says; `answer` is typed to what it asks."""
        filled = fill_in(text, fill or {})
        prompt = PROMPT.match(filled)
        started = time.monotonic()
        words = self._on_host(prompt["host"], prompt["typed"]) if prompt else self._here(filled)
        if terminal:
            words = ["script", "--quiet", "--return", "--command", shlex.join(words), "/dev/null"]
        done = subprocess.run(
            words, cwd=self.project, env=self._environment(), input=answer, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", timeout=seconds, check=False,
        )  # fmt: skip
        said = Said(done.returncode, done.stdout, time.monotonic() - started)
        self.hears(done.stdout)
        return said

    @contextmanager
    def begun(self, words: list[str]) -> Iterator[subprocess.Popen[str]]:
        """Run a command while something is done to what it works on; it has ended in the end."""
        process = subprocess.Popen(
            words, cwd=self.project, env=self._environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        with process:
            try:
                yield process
            except BaseException:
                process.kill()
                raise

    def hears(self, text: str) -> None:
        """Keep what was said elsewhere."""
        self.transcript.append(plain(text))

    def run(self, host: str, script: str, *, check: bool = True, seconds: float = 120) -> str:
        """Do something to a host that no page tells anybody to do."""
        done = self.lab.run(host, "sh", "-c", script, check=check, timeout_seconds=seconds)
        return done.stdout + done.stderr

    def _on_host(self, host: str, typed: str) -> list[str]:
        return ["ssh", "-F", str(self.lab.ssh_config), "-o", "LogLevel=ERROR", host, typed]

    def _here(self, typed: str) -> list[str]:
        if exported := re.match(r"^export (\w+)=(.*)$", typed):
            self.environment[exported[1]] = exported[2]
        if typed.startswith(("ssh ", "ssh-keygen ")):
            # The person's own ~/.ssh: it knows the lab's hosts, and nothing that is typed changes this machine's.
            return ["unshare", "--mount", "bash", "-euc", f"{OWN_SSH}\n{typed}"]
        return [*self.within, "bash", "-c", typed]

    def _environment(self) -> dict[str, str]:
        commands = str(Path(sys.executable).parent)
        return {
            **os.environ,
            "PATH": f"{commands}:{os.environ['PATH']}",
            "GX10_STATE": str(self.state),
            "GX10_CHECKOUT": str(checkout()),
            "LAB_SSH": str(checkout() / ".lab/ssh"),
            **self.environment,
        }

    def serves(self) -> None:
        """Have the lab serve what is described, whoever had it before.

        On a machine that is busy a start may spend its whole budget, as Ray gives a node 30 s to join; the same deploy
        tries again.
        """
        if not all(host.ssh for host in self.lab.status()):
            self.lab.up()
        for _ in range(HEALING_DEPLOYS):
            done = self.aside("pyinfra inventory.py deploy.py -y")
            if done.status == 0:
                return
        raise AssertionError(done.text[-3000:])

    def aside(self, typed: str, seconds: float = SECONDS) -> Said:
        """Run a command whose output belongs to no page."""
        kept = list(self.transcript)
        said = self.type(typed, seconds=seconds)
        self.transcript = kept
        return said

    def until(self, typed: str, words: str, seconds: float = 300) -> Said:
        """Type a command until it says something; the last time is kept."""
        end = time.monotonic() + seconds
        while True:
            said = self.aside(typed)
            if re.search(words, plain(said.text)):
                self.hears(said.text)
                return said
            if time.monotonic() > end:
                raise PageFaultError(f"`{typed}` never said {words!r} within {seconds:g} s: {said.text[-2000:]}")
            time.sleep(1)


def fill_in(text: str, fill: Mapping[str, str]) -> str:
    """The command as it is typed on the lab."""
    for word, instead in {**FILLED, **fill}.items():
        text = re.sub(rf"(?<![\w.]){re.escape(word)}(?![\w.])", instead, text)
    return text

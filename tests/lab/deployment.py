"""The deploy as a user runs it, with what it said taken apart."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gx10.described.description import describe
from gx10.lab.lab import Lab
from gx10.transfer.control_archive import ControlArchive

PROJECT = Path(__file__).resolve().parents[2]
HOSTS = ("gx10-1", "gx10-2", "gx10-3", "gx10-4")
FLIP = """
import os, sys
path, place = sys.argv[1], int(sys.argv[2])
found = os.stat(path)
with open(path, "r+b") as content:
    content.seek(place)
    byte = content.read(1)[0]
    content.seek(place)
    content.write(bytes([byte ^ 1]))
os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
"""
"""Program for a host: flips a bit of a file at a place, and keeps its size and times."""

Changes = set[tuple[str, str]]
"""Pairs of an operation's name and a host."""


def command(name: str) -> str:
    """A command of this environment."""
    return str(Path(sys.executable).with_name(name))


@dataclass(frozen=True)
class Run:
    """One run of the deploy."""

    status: int
    told: dict[str, Any]
    errors: str

    @property
    def predicted(self) -> Changes:
        """What a dry run says it would change."""
        return {(entry["name"], host) for entry in self.told["plan"] for host in entry["hosts_with_change"]}

    @property
    def conditional(self) -> Changes:
        """What a dry run says it might change: never anything, since nobody can act on it."""
        return {(entry["name"], host) for entry in self.told["plan"] for host in entry["hosts_with_conditional_change"]}

    @property
    def changed(self) -> Changes:
        """What the run changed."""
        return {(entry["name"], host) for entry in self.told["results"]["operations"] for host in entry["success"]}


def deploy(*arguments: str, environment: dict[str, str] | None = None, seconds: float = 1500) -> Run:
    """Run the deploy with JSON output; a run that failed may have said nothing."""
    done = subprocess.run(
        [command("pyinfra"), "inventory.py", "deploy.py", "--json", *arguments],
        cwd=PROJECT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    return Run(done.returncode, json.loads(done.stdout) if done.stdout.strip() else {}, done.stderr)


def killed_after(seconds: float) -> bool:
    """Start a deploy and kill it, with all its children, after a while; returns whether it had ended before."""
    process = subprocess.Popen(
        [command("pyinfra"), "inventory.py", "deploy.py", "-y"],
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False
    return True


def forget_archives(lab: Lab) -> None:
    """Leave no archive of an image, on the head or on the control node: the next deploy builds."""
    lab.run("gx10-1", "rm", "-rf", "/var/lib/gx10/archive")
    control = ControlArchive.of(describe("lab"))
    assert control is not None
    shutil.rmtree(control.directory, ignore_errors=True)


def serving_lab() -> Lab:
    """The checkout's lab, brought to what is described."""
    lab = Lab.for_checkout(PROJECT)
    lab.up()
    run = deploy("-y")
    assert run.status == 0, run.errors
    return lab


def gx10(*arguments: str, seconds: float = 600) -> subprocess.CompletedProcess[str]:
    """Run the `gx10` command."""
    return subprocess.run(
        [command("gx10"), *arguments], cwd=PROJECT, capture_output=True, text=True, timeout=seconds, check=False
    )

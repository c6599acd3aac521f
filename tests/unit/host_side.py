"""Running `gx10-host` as a host does: plain Python, a process of their own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from gx10_host.exits import DAMAGED

PYTHON = [sys.executable, "-S", "-E"]
"""Without site packages: hosts have the standard library alone."""
REPOSITORY = Path(__file__).resolve().parents[2]
LIBRARY = REPOSITORY / "files/usr/local/lib"
PROBES = LIBRARY / "gx10_host/probes"
ENTRY = REPOSITORY / "files/usr/local/bin/gx10-host"
SECONDS = 60
"""Bound of everything that these tests wait for."""


class Code(str):
    """A value of a setting that is written in Python."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def words(
    verb: str, *arguments: object, settings: Mapping[str, object] | None = None, at_exit: str = "None"
) -> list[str]:
    """The command of a verb; `settings` are constants, such as "content.proof.TELL_SECONDS", with other values."""
    told = [verb, *(str(argument) for argument in arguments)]
    if not settings:
        return [*PYTHON, str(ENTRY), *told]
    start = f"import atexit, sys; sys.path.insert(0, {str(LIBRARY)!r}); {changed(settings)}"
    start += f"atexit.register(lambda: {at_exit}); from gx10_host.__main__ import main; sys.exit(main(sys.argv[1:]))"
    return [*PYTHON, "-c", start, *told]


def changed(settings: Mapping[str, object]) -> str:
    """Statements that give constants of modules, the hosts' or the library's, other values."""
    told = ""
    for name, value in settings.items():
        module = name.rpartition(".")[0]
        where = "gx10_host." if (LIBRARY / f"gx10_host/{module.replace('.', '/')}.py").exists() else ""
        first = f"{where}{module}" if where else name.split(".")[0]
        told += f"import {first}; {where}{name} = {value!r}; "
    return told


def elsewhere(command: list[str], module: str, **settings: object) -> list[str]:
    """What follows `python3` in a command that carries its modules, with other constants of one of them."""
    *options, text, start = [*command[1:4], *command[4].rsplit("from gx10_host.", 1)]
    settings = {f"{module}.{name}": value for name, value in settings.items()}
    return [*options, f"{text}{changed(settings)}\nfrom gx10_host.{start}", *command[5:]]


def run(
    verb: str,
    *arguments: object,
    settings: Mapping[str, object] | None = None,
    env: Mapping[str, str] | None = None,
    at_exit: str = "None",
    given: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run a verb to its end, with a text to read; `at_exit` is an expression that it evaluates then, where settings are
    given."""
    command = words(verb, *arguments, settings=settings, at_exit=at_exit)
    environment = {**os.environ, **(env or {})}
    return subprocess.run(
        command, input=given, capture_output=True, text=True, timeout=SECONDS, check=False, env=environment
    )


def start(
    verb: str, *arguments: object, settings: Mapping[str, object] | None = None, env: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a verb."""
    command = words(verb, *arguments, settings=settings)
    environment = {**os.environ, **(env or {})}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def wait_until(condition: Callable[[], object], seconds: float = SECONDS, pause: float = 0.005) -> bool:
    """Wait for a condition; False when it did not come true in time."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(pause)
    return True


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Whether something listens on a port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def damaged(done: subprocess.CompletedProcess[str], *told: str) -> None:
    """Hold that a program found damage: with a sentence, and with the status that means just that."""
    refused(done, *told, status=DAMAGED)


def refused(done: subprocess.CompletedProcess[str], *told: str, status: int = 1) -> None:
    """Hold that a program refused with a sentence, not with a traceback."""
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    for word in told:
        assert word in done.stderr, done.stderr


def command_on_path(directory: Path, name: str, program: str) -> dict[str, str]:
    """Put a stand-in for a command before all others; returns the environment in which it is found."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_text(f"#!{sys.executable} -SE\n{program}")
    path.chmod(0o755)
    return {"PATH": f"{directory}:{os.environ['PATH']}"}


def read_json(path: Path) -> dict[str, list[dict[str, str]]]:
    """What a manifest holds."""
    told: dict[str, list[dict[str, str]]] = json.loads(path.read_text())
    return told

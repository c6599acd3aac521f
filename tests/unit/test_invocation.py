"""A run that is interrupted says how far it was and never ends with 0; a command line that no gang takes is refused."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gx10.settings import PROJECT

from .terminal import CTRL_C, Terminal

PYINFRA = str(Path(sys.executable).with_name("pyinfra"))

INVENTORY = """
import os
import gevent
from pyinfra.connectors.fake import FakeConnector
from pyinfra.context import ctx_state
from gx10.operations.loop.invocation import whole_or_not
from gx10.operations.loop.journal import watch

whole_or_not(ctx_state.get())


def connect(self):
    watch(self.state)
    if os.environ["STUCK"] == "connect":
        if self.host.name.endswith("b"):
            print("logs in", flush=True)
        gevent.sleep(60)
    if os.environ["STUCK"] == "down" and self.host.name.endswith("b"):
        from pyinfra.api.exceptions import ConnectError
        raise ConnectError("b cannot be logged in to: it is down")


FakeConnector.connect = connect
hosts = [(f"@fake/{name}", {"fake_delay": 0, "fake_delay_jitter": 0}) for name in "ab"]
"""
MADE = """
import os
import gevent
from pyinfra import host
from pyinfra.api import deploy
from pyinfra.api.command import StringCommand
from pyinfra.connectors.util import CommandOutput
from gx10.operations.loop.declared import drifted, operation
from gx10.drift.classes import Drift


class Slow(StringCommand):
    def execute(self, state, host, connector_arguments):
        if host.name.endswith("b"):
            gevent.sleep(0.5)
            print("slow work begins", flush=True)
            gevent.sleep(60)
        return True, CommandOutput([])


@operation(drift=Drift.HEAL)
def write():
    drifted("file", "absent", "present")
    yield StringCommand("true")


@operation(drift=Drift.RESTART, goes_on="the supervisor goes on with it")
def serve():
    drifted("gang", "older", "described")
    yield Slow("true")


@operation(drift=Drift.HEAL)
def last():
    drifted("file", "absent", "present")
    yield StringCommand("true")


@deploy("Test")
def test():
    if os.environ["STUCK"] == "prepare":
        if host.name.endswith("b"):
            print("asks a host", flush=True)
        gevent.sleep(60)
    write(name="Write a file")
    serve(name="Have it served")
    last(name="Write the last file")
"""
FAULTS = ("Traceback", "powered on", "Aborted", "upon user request", "GreenletExit")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory with two pretended hosts, and this project's own config.py."""
    shutil.copy(PROJECT / "config.py", tmp_path)
    (tmp_path / "inventory.py").write_text(INVENTORY)
    (tmp_path / "made.py").write_text(MADE)
    (tmp_path / "deploy.py").write_text("from made import test\n\ntest()\n")
    return tmp_path


def words(*options: str) -> list[str]:
    return [PYINFRA, "inventory.py", "deploy.py", *options]


def environment(stuck: str = "") -> dict[str, str]:
    return {"STUCK": stuck, "GX10_CLUSTER": "lab", "PYTHONPATH": str(PROJECT)}


MOMENTS = {
    "connect": ("logs in\n", [], "while hosts were logged in to: nothing was changed on any host"),
    "prepare": ("asks a host\n", [], "while hosts were asked what differs: nothing was changed on any host"),
    "question": ("Press enter to execute", [], "nothing was changed on any host"),
    "execute": ("slow work begins\n", ["-y"], "changed: Test | Write a file, on @fake/a, @fake/b"),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_says_how_far_the_run_was_and_ends_with_130(project: Path, moment: str) -> None:
    sign, options, said = MOMENTS[moment]
    with Terminal(words(*options), project, environment(moment)) as terminal:
        terminal.until(sign)
        terminal.type(CTRL_C)
        assert terminal.ended() == 130, terminal.seen
    assert "Interrupted by Ctrl-C." in terminal.seen
    assert said in terminal.seen
    assert "`pyinfra inventory.py deploy.py" in terminal.seen
    assert not [fault for fault in FAULTS if fault in terminal.seen], terminal.seen


def test_what_is_under_way_and_what_was_not_begun_is_told(project: Path) -> None:
    with Terminal(words("-y"), project, environment()) as terminal:
        terminal.until("slow work begins\n")
        terminal.type(CTRL_C)
        assert terminal.ended() == 130
    assert "Test | Have it served, on @fake/b; the supervisor goes on with it" in terminal.seen
    assert "not begun: 1 operation\n" in terminal.seen
    assert "`pyinfra inventory.py deploy.py -y` continues where this run ended" in terminal.seen


@pytest.mark.parametrize("option", [[], ["--dry"]])
def test_a_restart_is_announced_before_the_question(project: Path, option: list[str]) -> None:
    with Terminal(words(*option), project, environment()) as terminal:
        if option:
            assert terminal.ended() == 0
        else:
            terminal.until("Press enter")
        before = terminal.seen.partition("Press enter")[0]
    assert before.count("Test | Have it served (RESTARTS THE GANG: running requests end first, then nothing") == 1
    assert "Write a file (" not in before


@pytest.mark.parametrize("moment", MOMENTS)
def test_sigterm_ends_with_143(project: Path, moment: str) -> None:
    sign, options, said = MOMENTS[moment]
    with Terminal(words(*options), project, environment(moment)) as terminal:
        terminal.until(sign)
        terminal.command.send_signal(signal.SIGTERM)
        assert terminal.ended() == 143, terminal.seen
    assert "Interrupted by SIGTERM." in terminal.seen
    assert said in terminal.seen


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_closed_terminal_ends_a_run_with_129(project: Path, moment: str) -> None:
    sign, options, said = MOMENTS[moment]
    log = project / "errors"
    with log.open("wb") as errors, Terminal(words(*options), project, environment(moment), errors) as terminal:
        while sign not in log.read_text() + terminal.seen:
            assert terminal.command.poll() is None, log.read_text()
            terminal._read()
        terminal.close()
        assert terminal.ended() == 129, log.read_text()
    assert "Interrupted by a closed terminal." in log.read_text()
    assert said in log.read_text()
    assert not [fault for fault in FAULTS if fault in log.read_text()], log.read_text()


def test_a_closed_terminal_that_nobody_reads_ends_a_run_too(project: Path) -> None:
    with Terminal(words("-y"), project, environment()) as terminal:
        terminal.until("slow work begins\n")
        terminal.close()
        assert terminal.ended() == 129


def run(project: Path, *options: str, stuck: str = "") -> subprocess.CompletedProcess[str]:
    """A command line without a terminal."""
    return subprocess.run(
        [PYINFRA, *options], cwd=project, env={**os.environ, **environment(stuck)}, capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--limit", "nobody", "-y"], "Leave --limit out"),
        (["--limit", "@fake/a", "--dry"], "Leave --limit out"),
        (["--exclude", "@fake/a", "-y"], "Leave --exclude out"),
        (["--serial", "-y"], "Leave --serial out"),
        (["--no-wait", "-y"], "With --no-wait"),
        (["--dry", "-y"], "nothing would ever differ"),
        ([], "There is no terminal to ask on"),
    ],
)
def test_what_no_gang_can_be_deployed_with_is_refused_before_any_host_is_asked(
    project: Path, options: list[str], said: str
) -> None:
    done = run(project, "inventory.py", "deploy.py", *options)
    assert done.returncode == 64
    assert said in done.stderr
    assert "Connecting" not in done.stderr


def test_a_mistyped_inventory_is_refused(project: Path) -> None:
    done = run(project, "inventry.py", "deploy.py", "-y")
    assert (done.returncode, "There is no inventory inventry.py here" in done.stderr) == (64, True)


@pytest.mark.parametrize("option", ["--dry", "-y"])
def test_a_host_that_is_down_ends_a_run_without_a_question_or_a_traceback(project: Path, option: str) -> None:
    done = run(project, "inventory.py", "deploy.py", option, stuck="down")
    assert done.returncode == 1
    assert "b cannot be logged in to: it is down" in done.stderr
    assert "@fake/b cannot be logged in to, see above. A gang is all its hosts" in done.stderr
    assert not [fault for fault in (*FAULTS, "Press enter", "continue?") if fault in done.stderr], done.stderr


def test_what_is_compared_is_compared_without_a_terminal(project: Path) -> None:
    done = run(project, "inventory.py", "deploy.py", "--dry")
    assert done.returncode == 0
    assert "Test | Write a file" in done.stderr


# Over real connections

CONNECTED = """
import os
from pyinfra.context import ctx_state
from gx10.operations.loop.invocation import whole_or_not

whole_or_not(ctx_state.get())
login = {
    "ssh_hostname": "127.0.0.1", "ssh_port": int(open("port").read()), "ssh_user": "root", "ssh_key": "key",
    "ssh_known_hosts_file": "known_hosts", "ssh_strict_host_key_checking": "yes",
}
hosts = [(f"@gx10/{name}", login) for name in "abcd"]
"""
COMMANDS = """
import os
from pyinfra.api import deploy
from gx10.operations.loop.commands import Command
from gx10.operations.loop.declared import drifted, operation
from gx10.drift.classes import Drift


@operation(drift=Drift.HEAL)
def run(command):
    drifted("file", "absent", "present")
    yield Command(command)


@deploy("Test")
def test():
    run(name="Write a file", command="true")
    run(name="Load an image", command=f"touch {os.getcwd()}/begun; sleep 3; touch {os.getcwd()}/ended")
    run(name="Write the last file", command="true")
"""


@pytest.fixture
def connected(project: Path) -> Iterator[Path]:
    """That directory with four hosts, each a real connection to this machine."""
    (project / "inventory.py").write_text(CONNECTED)
    (project / "made.py").write_text(COMMANDS)
    words = [sys.executable, "-m", "tests.unit.ssh_server", str(project)]
    with subprocess.Popen(words, cwd=PROJECT, stderr=subprocess.DEVNULL) as server:
        wait_for(project / "port")
        yield project
        server.kill()


def wait_for(path: Path, seconds: float = 60) -> None:
    """Wait until a file is there."""
    until = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < until, f"{path.name} never came"
        time.sleep(0.02)


def test_a_command_that_runs_on_hosts_goes_on_there_and_is_no_lost_connection(connected: Path) -> None:
    with Terminal(words("-y"), connected, environment()) as terminal:
        while not (connected / "begun").exists():
            terminal._read()
        terminal.type(CTRL_C)
        assert terminal.ended(10) == 130, terminal.seen
    assert "changed: Test | Write a file, on a, b, c, d" in terminal.seen
    assert "Test | Load an image, on a, b, c, d; what a host has begun may go on there to its end" in terminal.seen
    assert "connection was lost" not in terminal.seen
    assert not [fault for fault in FAULTS if fault in terminal.seen], terminal.seen
    wait_for(connected / "ended")


def test_a_silent_port_is_one_sentence_without_a_traceback(connected: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closes:
        (connected / "port").write_text(str(closes.getsockname()[1]))
        threading.Thread(target=lambda: [closes.accept()[0].close() for _ in "abcd"], daemon=True).start()
        done = run(connected, "inventory.py", "deploy.py", "--dry")
    assert done.returncode == 1
    assert done.stderr.count("cannot be logged in to: SSH error") == 4
    assert "Traceback" not in done.stderr
    assert "Exception (client)" not in done.stderr

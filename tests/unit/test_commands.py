"""The `gx10` command as it is typed: interrupts, options as the README has them, what works under a broken edit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from gx10_host import ENTRY

from gx10 import cli
from gx10.access import access_files, remote
from gx10.access.access_files import missing_files
from gx10.access.lock import LockUnknownError
from gx10.access.remote import Answer
from gx10.cli import interrupted, last_description, reconcile, unlock
from gx10.day_two import images
from gx10.described.description import Description, describe
from gx10.settings import PROJECT, SettingsError

from .terminal import CTRL_C, Terminal

GX10 = str(Path(sys.executable).with_name("gx10"))
FAULTS = ("Traceback", "Aborted", "powered on")


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> Description:
    """The lab's description."""
    monkeypatch.setenv("GX10_CLUSTER", "lab")
    return describe("lab")


def typed(*words: str) -> Result:
    return CliRunner().invoke(cli.main, list(words))


# Interrupts


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with a cluster that needs no file to log in, and an ssh that never comes to its end."""
    root = tmp_path_factory.mktemp("project")
    for name in ("clusters", "deploys", "files", "gx10", "images", "recipes", "tasks", "templates", "tests/nodes"):
        shutil.copytree(PROJECT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("config.py", "deploy.py", "inventory.py", "pyproject.toml", "requirements.lock", "tests/__init__.py"):
        shutil.copy(PROJECT / name, root / name)
    text = (root / "clusters/lab.yaml").read_text().replace("name: lab\n", "name: reachable\n")
    (root / "clusters/reachable.yaml").write_text(text.replace("  ssh_config: .lab/ssh/config\n", "  user: root\n"))
    (root / "bin").mkdir()
    ssh = root / "bin/ssh"
    ssh.write_text('#!/bin/sh\necho asked > "$MARK"\nexec sleep 60\n')
    ssh.chmod(0o755)
    return root


@pytest.fixture
def checkout(project: Path) -> Path:
    """That project; what it keeps is this test's own."""
    (project / "mark").unlink(missing_ok=True)
    shutil.rmtree(project / "state", ignore_errors=True)
    return project


def environment(checkout: Path) -> dict[str, str]:
    return {
        "PATH": f"{checkout / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(checkout),
        "MARK": str(checkout / "mark"),
        "GX10_STATE": str(checkout / "state"),
        "GX10_CLUSTER": "reachable",
    }


VERBS = ("status", "chat", "verify", "plan", "reconcile", "restart", "stop", "start", "logs", "why", "models list",
         "models verify", "images list", "suspend reason", "resume", "unlock")  # fmt: skip
WORDS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


@pytest.mark.parametrize("verb", VERBS)
def test_ctrl_c_in_a_command_says_what_goes_on_and_ends_with_130(checkout: Path, verb: str) -> None:
    with Terminal([GX10, *verb.split()], checkout, environment(checkout)) as terminal:
        waited(terminal, checkout)
        terminal.type(CTRL_C)
        assert terminal.ended() == 130, terminal.seen
    assert "Interrupted by Ctrl-C" in terminal.seen
    told = interrupted.SENTENCES.get(verb.partition(" reason")[0], "`gx10 plan`")
    assert told.split(". ")[0] in terminal.seen.replace("\n", " ")
    assert not [fault for fault in FAULTS if fault in terminal.seen], terminal.seen


@pytest.mark.parametrize(
    ("verb", "number"), [("status", signal.SIGTERM), ("restart", signal.SIGTERM), ("logs", signal.SIGHUP)]
)
def test_other_signals_end_a_command_and_what_it_has_started(
    tmp_path: Path, checkout: Path, verb: str, number: signal.Signals
) -> None:
    log = tmp_path / "errors"
    with log.open("wb") as errors, Terminal([GX10, verb], checkout, environment(checkout), errors) as terminal:
        waited(terminal, checkout)
        terminal.command.send_signal(number)
        assert terminal.ended() == 128 + number, log.read_text()
    assert interrupted.SENTENCES[verb].split(". ")[0] in log.read_text()


def waited(terminal: Terminal, checkout: Path) -> None:
    """Wait until a host is asked."""
    while not (checkout / "mark").is_file():
        assert terminal.command.poll() is None, terminal.seen
        terminal._read()


def test_every_sentence_is_of_a_command_that_there_is() -> None:
    for path in interrupted.SENTENCES:
        command, context = cli.main, None
        for word in path.split():
            found = command.get_command(context, word)  # type: ignore[union-attr, arg-type]
            assert found is not None, f"gx10 {path}"
            command = found  # type: ignore[assignment]


SERVE = """#!/bin/sh
# Stands for pyinfra: says what it was told, and takes its time where a test wants to interrupt it.
echo "$2 recipe=$GX10_STAGED_RECIPE" >> "$MARK.log"
[ "$STUCK" = "$2" ] || exit "${STATUS:-0}"
touch "$MARK"
trap 'exit 130' INT
trap 'exit 143' TERM
while :; do sleep 0.05; done
"""
OLD, NEW = "lab-nemotron-3-ultra", "lab-qwen3.5-397b"


@pytest.fixture
def switched(checkout: Path) -> Path:
    """The project with a pyinfra that stages and deploys nothing, and hosts whose weights are right."""
    (checkout / "mark.log").unlink(missing_ok=True)
    cluster = checkout / "clusters/reachable.yaml"
    cluster.write_text(cluster.read_text().replace(f"recipe: {NEW}", f"recipe: {OLD}"))
    (checkout / "bin/python").unlink(missing_ok=True)
    (checkout / "bin/python").symlink_to(sys.executable)
    (checkout / "bin/pyinfra").write_text(SERVE)
    (checkout / "bin/pyinfra").chmod(0o755)
    return checkout


def serves(checkout: Path, stuck: str) -> list[str]:
    """`gx10 serve NEW` with that pyinfra, as words."""
    program = (
        "import sys, gx10.cli.serve as m, gx10.cli.pyinfra_command as p, gx10.cli as cli\n"
        f"p.sys = type('Fake', (), {{'executable': {str(checkout / 'bin/python')!r}}})\n"
        "m.verified = lambda description: print('verified', description.cluster.recipe, flush=True) or 0\n"
        "cli.main()\n"
    )
    return ["env", f"STUCK={stuck}", sys.executable, "-c", program, "serve", NEW]


@pytest.mark.parametrize(
    ("stuck", "number", "names"),
    [
        ("deploys/stage.py", signal.SIGINT, OLD),
        ("deploys/stage.py", signal.SIGTERM, OLD),
        ("deploys/stage.py", signal.SIGHUP, OLD),
        ("deploy.py", signal.SIGINT, NEW),
    ],
)
def test_an_interrupted_switch_says_what_the_cluster_file_names(
    tmp_path: Path, switched: Path, stuck: str, number: signal.Signals, names: str
) -> None:
    log = tmp_path / "errors"
    with (
        log.open("wb") as errors,
        Terminal(serves(switched, stuck), switched, environment(switched), errors) as terminal,
    ):
        waited(terminal, switched)
        terminal.command.send_signal(number)
        assert terminal.ended() == 128 + number, log.read_text()
    assert f"recipe: {names}\n" in (switched / "clusters/reachable.yaml").read_text()
    assert (f"{OLD} is served as before" if names == OLD else f"`gx10 serve {OLD}` goes back") in log.read_text()
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("stuck", ["deploys/stage.py", "deploy.py"])
def test_a_switch_that_was_killed_is_told_by_the_next_command(switched: Path, stuck: str) -> None:
    with Terminal(serves(switched, stuck), switched, environment(switched)) as terminal:
        waited(terminal, switched)
        os.kill(terminal.command.pid, signal.SIGKILL)
        terminal.command.wait()
        assert OLD in (switched / "clusters/reachable.yaml").read_text() or stuck == "deploy.py"
    done = subprocess.run(
        [str(Path(GX10).with_name("pyinfra")), "inventory.py", "debug-inventory"], cwd=switched,
        env={**os.environ, **environment(switched)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert f"`gx10 serve {NEW}` of" in done.stderr
    assert "did not come to its end" in done.stderr
    assert (f"`gx10 serve {NEW}` goes on" if stuck != "deploy.py" else f"`gx10 serve {OLD}` goes back") in done.stderr


def test_a_switch_is_staged_and_checked_before_the_cluster_file_names_it(switched: Path) -> None:
    with Terminal(serves(switched, "none"), switched, environment(switched)) as terminal:
        assert terminal.ended() == 0, terminal.seen
    assert (switched / "mark.log").read_text() == f"deploys/stage.py recipe={NEW}\ndeploy.py recipe=\n"
    assert f"verified {NEW}" in terminal.seen
    assert not (switched / "state/reachable/switch.json").exists()


def test_a_switch_that_cannot_be_staged_leaves_the_cluster_file_alone(switched: Path) -> None:
    words = ["env", "STATUS=1", *serves(switched, "none")[1:]]
    with Terminal(words, switched, environment(switched)) as terminal:
        assert terminal.ended() == 1
    assert f"{OLD} is served as before, and clusters/reachable.yaml still names it" in terminal.seen.replace("\n", " ")
    assert f"recipe: {OLD}\n" in (switched / "clusters/reachable.yaml").read_text()


# Options as the README writes them


def test_runs_are_compared_by_their_place(described: Description) -> None:
    result = typed("diff", "-2", "-1")
    assert "No such option" not in result.output
    assert "-2 names no run; `gx10 history` lists them" in result.output


def test_a_reason_that_is_too_short_is_refused_by_its_rule(described: Description) -> None:
    result = typed("suspend", "why", "--until", "3d")
    assert result.exit_code == 64
    assert "'why' has fewer than 4 characters" in result.output
    assert "at least four characters" in typed("suspend", "--help").output


def test_breaking_the_lock_starts_no_run(described: Description, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unlock, "broken", lambda _: "ada@desk, process 4711")
    monkeypatch.setattr(reconcile, "locked", lambda *_: pytest.fail("a run began"))
    assert typed("unlock").output == "Took the lock from ada@desk, process 4711.\n"
    assert "No such option" in typed("reconcile", "--break-lock").output


def test_a_lock_that_nobody_holds_or_tells_of_is_said(described: Description, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unlock, "broken", lambda _: "")
    assert "Nobody holds the lock on gx10-1" in typed("unlock").output

    def silent(_: Description) -> str:
        raise LockUnknownError("gx10-1 cannot be asked for its lock: timed out")

    monkeypatch.setattr(unlock, "broken", silent)
    assert (typed("unlock").exit_code, "cannot be asked" in typed("unlock").output) == (1, True)


def test_history_says_whose_runs_it_lists_and_where_the_nightly_ones_are(described: Description) -> None:
    told = typed("history").output
    assert told.startswith("Runs of root on ")
    assert (
        "The nightly ones are on gx10-1: as root there, `runuser -u gx10-reconcile -- /opt/gx10/bin/gx10 history`"
        in told
    )
    assert json.loads(typed("history", "--json").output) == []


# What is missing or broken


def test_a_missing_ssh_file_is_refused_before_any_host_is_asked(tmp_path: Path) -> None:
    description = describe("lab")
    access = description.cluster.access.model_copy(
        update={"key": Path("~/none"), "known_hosts": Path("/nowhere/known")}
    )
    loaded = description.loaded
    cluster = description.cluster.model_copy(update={"access": access})
    from dataclasses import replace  # noqa: PLC0415

    changed = replace(loaded, cluster=cluster, project=tmp_path)
    with pytest.raises(SettingsError) as refused:
        missing_files(replace(description, checked=replace(description.checked, loaded=changed)))
    told = str(refused.value)
    assert "access.ssh_config: found '.lab/ssh/config'" in told
    assert "run `gx10 lab up`" in told
    assert "access.key: found '~/none'" in told
    assert "access.known_hosts: found '/nowhere/known'" in told


@pytest.mark.parametrize(("verb", "status"), [("status", 1), ("logs", 1), ("why", 1), ("plan", 64), ("restart", 64)])
def test_what_only_reads_goes_by_the_description_that_loaded_last(
    described: Description, monkeypatch: pytest.MonkeyPatch, verb: str, status: int
) -> None:
    assert last_description.last("lab") is None
    last_description.keep(described)

    def broken(*_: object) -> Description:
        raise SettingsError([])

    asked: list[str] = []

    def run(_description: Description, host: str, *_: object, **__: object) -> Answer:
        asked.append(host)
        return Answer(host, reason="unreachable: timed out")

    monkeypatch.setattr("gx10.described.description.described_by_environment", broken)
    monkeypatch.setattr(remote, "run", run)
    monkeypatch.setattr(remote, "run_all", lambda its, _question, hosts, *_: {host: run(its, host) for host in hosts})
    result = typed(verb)
    assert result.exit_code == status, result.output
    assert ("goes by the description that loaded last" in result.output) is (status == 1)
    assert bool(asked) is (status == 1)


def test_the_kept_description_is_the_one_that_was_kept(described: Description) -> None:
    last_description.keep(described)
    kept = last_description.last("lab")
    assert kept is not None
    assert kept.description.cluster == described.cluster
    assert kept.description.image_reference == described.image_reference
    assert (kept.description.port, kept.description.served_name) == (described.port, described.served_name)
    assert kept.description.model_directory == described.model_directory


@pytest.mark.parametrize(
    ("ended", "said", "reason"),
    [
        (("true", 255), "Connection closed by UNKNOWN port 65535", "the way to it ended before it answered"),
        ((ENTRY, 127), "sh: 1: a shell's own words, in whatever language", "nothing was deployed to it yet"),
        (("cat", 1), "cat: /etc/x: No such file or directory", "cat: /etc/x: No such file or directory"),
        (("nft", 127), "sh: 1: nft: not found", "sh: 1: nft: not found"),
        ((ENTRY, 2), "control: the budget is spent", "control: the budget is spent"),
    ],
)
def test_what_ssh_and_a_bare_host_say_becomes_a_sentence(
    described: Description, monkeypatch: pytest.MonkeyPatch, ended: tuple[str, int], said: str, reason: str
) -> None:
    command, status = ended
    done = subprocess.CompletedProcess([], status, "", f"banner\n{said}\n")
    monkeypatch.setattr(remote.subprocess, "run", lambda *_, **__: done)
    assert reason in remote.run(described, "gx10-1", [command, "why"]).reason


def test_the_lab_does_not_begin_under_a_cluster_that_there_is_not() -> None:
    done = subprocess.run(
        [GX10, "lab", "up"], cwd=PROJECT, env={**os.environ, "GX10_CLUSTER": "nope"}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 64
    assert "clusters/nope.yaml does not exist. Choose one of: example, lab" in done.stderr


def test_the_last_transfer_of_an_image_is_not_that_of_weights(described: Description) -> None:
    weights = {"what": "org/model", "at": 2, "bytes": 1, "seconds": 1}
    image = {"what": described.image_reference, "at": 1, "bytes": 2, "seconds": 1}
    answer = Answer(
        "gx10-2",
        [{"images": {described.image_reference: None}}, {"plan": []}, {"read": {"transfers": [weights, image]}}],
    )
    assert images._place(described, answer).transfer == image


def test_an_ssh_file_that_cannot_be_read_is_told_with_its_reason(tmp_path: Path) -> None:
    assert access_files._fault(tmp_path) == "it cannot be read here: Is a directory"
    assert access_files._fault(tmp_path / "none") == "there is no such file on this node"
    (tmp_path / "key").touch()
    assert access_files._fault(tmp_path / "key") == ""


@pytest.mark.parametrize("words", [["plan", "--bogus"], ["bogus"], ["history", "--count", "x"], ["diff", "a"]])
def test_wrong_typing_is_64_and_no_drift(words: list[str]) -> None:
    assert typed(*words).exit_code == 64

"""The reconciler on its host: hardened units, a copy of the project that describes the same, locked wheels."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import Distribution
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from gx10 import cli
from gx10.cli import copied as copied_project
from gx10.described import watch_files
from gx10.described.description import Description, describe
from gx10.described.project import (
    _project_files,
    applied_file,
    cluster_text,
    deployed_files,
    description_digest,
    project_archive,
    project_files,
)
from gx10.operations.handed import weights_of
from gx10.reconcile.history import History
from gx10.reconcile.publish.hook import tell
from gx10.reconcile.report import Report
from gx10.settings import PROJECT, Cluster
from gx10.transfer.control_archive import ControlArchive

from .good_project import GoodProject
from .host_side import refused
from .host_side import run as run_program

MOST_EXPOSED = 2.0
"""Of 10, by `systemd-analyze security`; sshd has 9.6."""


@pytest.fixture
def description() -> Description:
    return describe("lab")


@pytest.fixture
def units(description: Description, tmp_path: Path) -> Path:
    """The units in a directory, with an environment that exists."""
    for file in watch_files.watch_files(description, project_archive(description)):
        text = file.content.replace(watch_files.environment(description)[0].encode(), b"/usr")
        text = text.replace(" ".join(watch_files.RESTORE).encode(), b"/usr/bin/true")
        (tmp_path / Path(file.path).name).write_bytes(text.replace(b"/usr/bin/python ", b"/usr/bin/python3 "))
    return tmp_path


def test_units_are_what_systemd_takes(units: Path) -> None:
    names = [str(units / name) for name in (watch_files.TIMER, watch_files.SERVICE, watch_files.FAILED)]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names], capture_output=True, text=True, timeout=60, check=False
    )
    told = [line for line in done.stderr.splitlines() if "gx10" in line]
    assert (done.returncode, told) == (0, [])


@pytest.mark.parametrize("unit", [watch_files.SERVICE, watch_files.FAILED])
def test_units_are_hardened(units: Path, unit: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(units / unit)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    found = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= (MOST_EXPOSED if unit == watch_files.SERVICE else 5)


def test_the_timer_has_the_described_hour_in_its_zone_and_makes_up_for_missed_nights(units: Path) -> None:
    text = (units / watch_files.TIMER).read_text()
    assert "OnCalendar=*-01-01 02:30 UTC\n" in text
    assert "RandomizedDelaySec=900\n" in text
    assert "Persistent=true\n" in text


def copied(description: Description, root: Path) -> Description:
    """The project as it is deployed, and what it describes there."""
    for name, text in deployed_files(description).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text)
    Path(f"{root}.zip").write_bytes(project_archive(description))
    return describe(description.cluster.name, root)


def test_the_copy_describes_the_same_and_would_deploy_itself_unchanged(
    description: Description, tmp_path: Path
) -> None:
    copy = copied(description, tmp_path / "project")
    assert description_digest(copy) == description_digest(description)
    assert applied_file(copy) == applied_file(description)
    assert deployed_files(copy) == deployed_files(description)
    assert project_archive(copy) == project_archive(description)
    for host in description.cluster.hosts:
        from gx10.described import gang_files, host_files  # noqa: PLC0415 - only here

        assert gang_files.configuration(copy) == gang_files.configuration(description)
        assert host_files.share(copy, host) == host_files.share(description, host)


OWNERS = {
    "as it is": {},
    "an archive on the owner's node": {"retention": {"control_archive": "/srv/archive", "keep_archives": 2}},
    "written as none": {"retention": {"control_archive": None}},
    "left to the default": {"retention": {"keep_archives": 2}},
    "nothing at all": {"retention": {}},
    "none elsewhere too": {"container": {"runtime": None, "devices": []}, "gang": {"hook": None}},
    "another key": {"access": {"user": "root", "port": 2222, "key": "~/.ssh/mine"}},
}


@pytest.mark.parametrize("keys", OWNERS.values(), ids=list(OWNERS))
def test_the_copy_is_described_exactly_as_its_owner_wrote_it_but_for_access(
    tmp_path: Path, keys: dict[str, object]
) -> None:
    good = GoodProject.at(tmp_path / "owners")
    good.cluster |= keys
    good.write()
    own = good.check().loaded
    text = yaml.safe_load(cluster_text(own.cluster, watch_files.access()))
    assert text.pop("access") == watch_files.access()
    copied_cluster = Cluster.model_validate({**text, "access": watch_files.access()})
    assert copied_cluster.model_copy(update={"access": own.cluster.access}) == own.cluster
    wrote = own.cluster.model_dump(exclude={"access"}, exclude_unset=True)
    assert copied_cluster.model_dump(exclude={"access"}, exclude_unset=True) == wrote


def test_a_file_of_the_copy_that_somebody_changed_describes_nothing(description: Description, tmp_path: Path) -> None:
    copy = copied(description, tmp_path / "project")
    (tmp_path / "project/deploy.py").write_text("evil")
    (tmp_path / "project/gx10/mine.py").touch()
    assert description_digest(copy) == description_digest(description)
    assert deployed_files(copy) == deployed_files(description)


def test_what_is_its_owners_alone_is_left_alone_by_the_copy(description: Description, tmp_path: Path) -> None:
    copy = copied(description, tmp_path / "project")
    assert (description.loaded.is_copy, copy.loaded.is_copy) == (False, True)
    assert copy.cluster.retention == description.cluster.retention
    assert ControlArchive.of(description) is not None
    assert ControlArchive.of(copy) is None
    assert (weights_of(description).recorded.kept_here, weights_of(copy).recorded.kept_here) == (True, False)


def test_a_verb_that_changes_the_description_is_refused_in_the_copy(
    description: Description, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied(description, tmp_path / "project")
    for verb in (["serve", "lab-other"], ["lab", "up"], ["images", "lock"]):
        monkeypatch.setattr(copied_project, "PROJECT", tmp_path / "project")
        ended = CliRunner().invoke(cli.main, verb)
        assert ended.exit_code == 64, ended.output
        assert (
            f"Run `gx10 {' '.join(verb[: len(verb) - (verb[0] != 'images')])}` where you deploy from." in ended.output
        )


def test_the_installed_command_is_what_a_shell_takes(units: Path) -> None:
    program = str(Path(sys.executable).with_name("shellcheck"))
    done = subprocess.run([program, str(units / "gx10")], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_copy_logs_in_with_its_own_key_and_knows_its_hosts(description: Description, tmp_path: Path) -> None:
    access = copied(description, tmp_path / "project").cluster.access
    assert (str(access.key), str(access.known_hosts)) == (watch_files.KEY, watch_files.KNOWN_HOSTS)
    assert access.ssh_config is None


def test_the_copy_holds_no_byte_code_and_what_pyinfra_looks_for(description: Description, tmp_path: Path) -> None:
    names = set(deployed_files(description))
    assert {
        "deploy.py",
        "inventory.py",
        "gx10/cli/__init__.py",
        "tests/nodes/conftest.py",
        "clusters/lab.yaml",
    } <= names
    assert not [name for name in names if "__pycache__" in name]
    copied(description, tmp_path / "project")
    (found,) = tmp_path.glob("project/*.dist-info")
    (entry,) = Distribution.at(found).entry_points
    assert (entry.group, entry.name, entry.value) == (
        "pyinfra.connectors",
        "gx10",
        "gx10.operations.loop.connector:Gx10Connector",
    )


def test_the_copy_holds_no_lab_and_nothing_that_measures_but_what_the_image_names(
    description: Description, tmp_path: Path
) -> None:
    names = set(deployed_files(description))
    apart = {name for name in names if name.startswith(("gx10/lab/", "gx10/bench/"))}
    assert apart == {description.image.lock, description.image.requirements}
    tests = {name for name in names if name.startswith("tests/") and not name.startswith("tests/nodes/")}
    assert tests == {"tests/__init__.py"}
    copy = copied(description, tmp_path / "project")
    assert description_digest(copy) == description_digest(description)


def test_a_lab_that_is_edited_describes_nothing_else(tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns(".*", "__pycache__", "docs", "unit"))

    def read_anew() -> str:
        describe.cache_clear()
        _project_files.cache_clear()
        return description_digest(describe("lab", project))

    before = read_anew()
    for name in ("gx10/lab/plan.py", "gx10/bench/noop.py", "tests/chaos/run.py"):
        (project / name).write_text("edited = True\n")
    assert read_anew() == before
    for name in ("gx10/lab/kit/requirements.lock", "tests/nodes/conftest.py"):
        (project / name).write_text((project / name).read_text() + "\n")
        assert read_anew() != before
        before = read_anew()


def test_the_copy_has_every_verb_without_a_lab(description: Description, tmp_path: Path) -> None:
    copied(description, tmp_path / "project")
    words = [sys.executable, "-m", "gx10.cli"]
    for more, status, said in (
        (["--help"], 0, "only where their owner deploys"),
        (["lab", "up"], 64, "Run `gx10 lab` where you deploy from."),
    ):
        done = subprocess.run(
            [*words, *more], cwd=tmp_path / "project", env={**os.environ, "PYTHONPATH": str(tmp_path / "project")},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert (done.returncode, said in done.stdout + done.stderr) == (status, True), done.stdout + done.stderr


def test_another_description_has_another_digest_and_access_has_none_of_it(description: Description) -> None:
    text = cluster_text(description.cluster, {"user": "root", "port": 2222})
    assert yaml.safe_load(text)["access"] == {"user": "root", "port": 2222}
    assert "access" not in yaml.safe_load(project_files(description)["clusters/lab.yaml"])
    assert description_digest(describe("lab")) == description_digest(description)


def test_every_program_that_the_deploy_needs_of_python_is_locked(description: Description) -> None:
    lock = (PROJECT / watch_files.LOCK).read_text()
    for name in ("pyinfra==3.10.0", "pydantic==", "pytest==", "pytest-testinfra==", "pip==", "requests==", "rich=="):
        assert name in lock
    whole = (PROJECT / "requirements.lock").read_text()
    for pin in re.findall(r"^(\S+==\S+)", lock, re.MULTILINE):
        assert pin in whole, f"{pin} is another version than the project's: run `make lock`"


def test_an_environment_without_its_pip_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels/pip-1-py3-none-any.whl").write_bytes(b"another")
    (tmp_path / "lock").write_text("pip==1 --hash=sha256:00")
    arguments = ["--wheels", tmp_path / "wheels", "--lock", tmp_path / "lock", "--to", tmp_path / "env", "--path", "/x"]
    refused(run_program("environment", *arguments), "make reconcile-wheels")
    assert not (tmp_path / "env").exists()


@pytest.mark.parametrize("died", [False, True], ids=["refused", "after a run that died"])
def test_an_environment_that_cannot_be_made_anew_leaves_the_old_one_in_its_place(tmp_path: Path, died: bool) -> None:
    pip = tmp_path / "wheels/pip-1-py3-none-any.whl"
    pip.parent.mkdir()
    pip.write_bytes(b"no wheel")
    (tmp_path / "lock").write_text(f"pip==1 --hash=sha256:{hashlib.sha256(b'no wheel').hexdigest()}")
    old = tmp_path / ("env.before" if died else "env")
    old.mkdir()
    (old / "runs").write_text("from here")
    if died:
        (tmp_path / "env").mkdir()
        (tmp_path / "env/half").touch()
    arguments = ["--wheels", pip.parent, "--lock", tmp_path / "lock", "--to", tmp_path / "env", "--path", "/x"]
    assert run_program("environment", *arguments).returncode == 1
    assert [path.name for path in (tmp_path / "env").iterdir()] == ["runs"]
    assert not (tmp_path / "env.before").exists()


# The hook

HOOK = """
import json, os, sys
told = json.load(sys.stdin)
open(sys.argv[1], "w").write(" ".join([told["run"], os.environ["GX10_CLUSTER"], os.environ["GX10_STATUS"]]))
sys.exit(int(sys.argv[2]))
"""


@pytest.fixture
def report() -> Report:
    return Report.model_validate({"run": "r", "cluster": "lab", "mode": "reconcile", "started": "2026-05-04T03:00:00Z"})


def test_a_hook_is_told_of_a_run_once_and_of_one_that_left_no_report(tmp_path: Path, report: Report) -> None:
    kept = History(tmp_path)
    directory = kept.begin(report.started)
    (directory / "report.json").write_text("{}")
    (lost,) = kept.untold("lab")
    assert (lost.status, lost.run, lost.started) == ("failed", directory.name, report.started)
    assert "left no report" in lost.reason
    assert not kept.hook_was_told(lost.run)
    kept.note_hook(lost.run)
    assert kept.hook_was_told(lost.run)
    assert kept.untold("lab") == []


def test_every_night_that_could_not_tell_is_told_though_a_plan_came_after_it(tmp_path: Path, report: Report) -> None:
    kept = History(tmp_path)
    for day, (mode, told) in enumerate((("reconcile", True), ("reconcile", False), ("plan", False)), 1):
        run = tmp_path / f"runs/2026050{day}T030000Z-1"
        run.mkdir(parents=True)
        report.model_copy(update={"mode": mode, "run": run.name}).write(run / "report.json")
        if told:
            kept.note_hook(run.name)
    assert [untold.run for untold in kept.untold("lab")] == ["20260502T030000Z-1"]


@pytest.mark.parametrize("text", ["null", "[]", '"x"', "{", "", '{"version": 2}'])
def test_half_a_report_is_passed_over(tmp_path: Path, text: str) -> None:
    run = tmp_path / "runs/20261399T010000Z-1"
    run.mkdir(parents=True)
    (run / "report.json").write_text(text)
    assert list(History(tmp_path).reports()) == []
    (lost,) = History(tmp_path).untold("lab")
    assert (lost.status, lost.run) == ("failed", run.name)


def test_a_start_that_made_no_run_is_known_from_one_that_did(
    tmp_path: Path, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVOCATION_ID", "0123456789abcdef0123456789abcdef")
    kept = History(tmp_path)
    kept.begin(report.started)
    assert kept.made_by("0123456789abcdef0123456789abcdef")
    assert not kept.made_by("fedcba9876543210fedcba9876543210")


def test_a_run_at_work_is_kept_however_old_a_wrong_clock_makes_it(tmp_path: Path, report: Report) -> None:
    kept = History(tmp_path)
    for minute in range(3):
        (tmp_path / f"runs/20361127T010{minute}00Z-1").mkdir(parents=True)
    directory = kept.begin(report.started)
    kept.keep(report.model_copy(update={"run": directory.name}), 3)
    assert directory.is_dir()


def test_the_hook_gets_the_report_and_its_failure_is_a_sentence(tmp_path: Path, report: Report) -> None:
    hook = (sys.executable, "-c", HOOK, str(tmp_path / "told"))
    assert tell((*hook, "0"), report) == ""
    assert (tmp_path / "told").read_text().startswith("r lab failed")
    assert "ended with status 3" in tell((*hook, "3"), report)
    assert "did not run" in tell(("/no/such/hook",), report)
    assert tell(("sh", "-c", "sleep 70 & exit 0"), report) == "", "what a hook leaves running is not waited for"
    assert tell((), report) == ""


@pytest.mark.parametrize("hook", ["mail.py", "webhook.py"])
def test_example_hooks_are_silent_about_a_good_night(hook: str, report: Report) -> None:
    good = {**json.loads(report.model_dump_json()), "status": "in sync"}
    words = [sys.executable, str(PROJECT / "files/hooks" / hook)]
    done = subprocess.run(words, input=json.dumps(good), capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_alert_rules_and_dashboard_name_metrics_that_exist() -> None:
    from gx10.reconcile.publish.metrics import HELP  # noqa: PLC0415 - only here

    for name in ("gx10-alerts.yaml", "gx10-dashboard.json"):
        text = (PROJECT / "files/monitoring" / name).read_text()
        used = set(re.findall(r"\bgx10_\w+", text))
        assert used
        assert used <= set(HELP), f"{name} names metrics that nothing writes"
    rules = yaml.safe_load((PROJECT / "files/monitoring/gx10-alerts.yaml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            for page in re.findall(r"docs/\S+\.md", rule["annotations"]["description"]):
                assert (PROJECT / page).exists(), f"{rule['alert']} sends its reader to {page}"

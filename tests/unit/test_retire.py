"""`gx10 retire`: shows by default, refuses what is described or serves, removes all of ours and nothing else."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gx10.access.remote import Answer
from gx10.cli import retire as retire_commands
from gx10.day_two import retirement
from gx10.day_two.retirement import NOTHING, RetireError, Standing, Target, partition_words
from gx10.described.description import describe
from gx10.described.host_files import program_directories
from gx10.described.members import Member, Members, member
from gx10.described.retirement import beside, everything, models_policy
from gx10.described.roles import Family
from gx10.operations.files import marks
from gx10.probes import writer_words

from .host_side import command_on_path, refused
from .test_members import ALL, DESCRIBED, HOSTS, without
from .test_probes import run as run_probe
from .test_reconcile_probes import stored
from .test_roles import SITUATIONS, described_paths, listed

GONE = HOSTS[3]
SHORTER = without(GONE)
TARGET = Target(GONE, member(DESCRIBED, GONE))
BESIDE: dict[str, Any] = {
    "authorized": ["ssh-rsa AAAA ada", 'restrict ssh-ed25519 BBBB gx10-reconcile@lab'], "hosts": [*marks("gx10")],
    "table": True, "images": {"vllm-node:1": 5 * 10**9}, "containers": ["gx10-ray"], "models": {"tiny": 10**6},
    "archive": {"files": 2, "bytes": 10**9}, "engine": "inactive", "ranks": 3,
}  # fmt: skip
REMAINS = {
    **NOTHING, "units": {"gx10-gang.service": {"active": "active", "enabled": "enabled"}},
    "files": ["/etc/sysctl.d/90-gx10.conf", f"/var/lib/gx10/archive/blobs/sha256/{'0' * 64}"],
}  # fmt: skip
FOUND = Standing(REMAINS, BESIDE)
EMPTY = Standing(
    dict(NOTHING),
    {**BESIDE, "authorized": [], "hosts": [], "table": False, "images": {}, "containers": [], "models": {}},
)


@pytest.mark.parametrize("description", SITUATIONS)
def test_a_retirement_knows_every_path_that_any_role_of_a_host_is_described_with(description: Any) -> None:  # noqa: ANN401
    kept_as_empty = {"/etc/gx10", "/var/lib/gx10", "/var/lib/gx10/archive", "/srv/models", "/opt/gx10", "/opt/gx10/bin"}
    kept_as_empty |= {*program_directories(description)}
    for name in HOSTS:
        told = everything(description, member(description, name))
        there = described_paths(description, name)
        assert there - listed(told, there) <= kept_as_empty
        assert kept_as_empty <= set(told.directories)


def test_paths_are_those_that_the_host_was_described_with(tmp_path: Path) -> None:
    moved = replace(TARGET.member, state="/data/state", archive="/data/archive", model_root="/data/models")
    told = everything(SHORTER, moved)
    assert {"/data/archive/.gx10-proven.json", "/data/state/hosts.json"} <= set(told.files)
    assert "/data/models" in told.directories
    assert not [path for path in told.files if path.startswith("/var/lib/gx10/archive")]


@pytest.mark.parametrize(
    ("path", "goes"),
    [
        ("/var/lib/gx10/archive/images/vllm-node-11ad175b9c42.json", True),
        ("/var/lib/gx10/archive/images/vllm-node-11ad175b9c42.json.partial", True),
        (f"/var/lib/gx10/archive/blobs/sha256/{'a' * 64}", True),
        (f"/var/lib/gx10/archive/blobs/sha256/{'a' * 64}.received", True),
        ("/var/lib/gx10/archive/blobs/sha256/notes", False),
        ("/var/lib/gx10/archive/images/notes.txt", False),
        ("/etc/gx10/fallback-12.conf", True),
        ("/etc/gx10/fallback-mine.conf", False),
        ("/opt/gx10/env-0123456789ab", True),
        ("/opt/gx10/env-mine", False),
    ],
)
def test_names_that_are_counted_or_digested_are_known_and_no_others(path: str, goes: bool) -> None:
    assert listed(everything(SHORTER, TARGET.member), {path}) == ({path} if goes else set())


def test_a_family_is_of_names_and_not_of_paths() -> None:
    with pytest.raises(ValueError, match="taken for a path"):
        Family("/etc", "[^/]+", "file")


# What is shown and what stays


def test_everything_that_would_go_is_a_row_and_weights_are_only_where_they_are_asked_for() -> None:
    rows = FOUND.rows(weights=False)
    kinds = [kind for kind, _, _ in rows]
    for kind in ("unit", "container", "image", "archive", "file", "key in authorized_keys", "firewall"):
        assert kind in kinds
    assert ("weights", "tiny", 10**6) in FOUND.rows(weights=True)
    assert "weights" not in kinds
    assert EMPTY.rows(weights=True) == []


def test_what_stays_is_said() -> None:
    told = " ".join(FOUND.stays(weights=False))
    assert "`--weights` removes tiny" in told
    assert "keep their values until the host boots" in told
    assert EMPTY.stays(weights=True) == []


# Refusals


def refused_because(monkeypatch: pytest.MonkeyPatch, found: dict[str, Any], head: Answer) -> str:
    monkeypatch.setattr(retirement, "ask", lambda *_, **__: {HOSTS[0]: head})
    return retirement.refusal(SHORTER, TARGET, Standing(REMAINS, {**BESIDE, **found}))


def picture(*hosts: str) -> Answer:
    return Answer(HOSTS[0], [{"gang": {"hosts": dict.fromkeys(hosts)}}])


@pytest.mark.parametrize("engine", ["active", "activating"])
def test_the_head_of_what_serves_is_refused(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    assert "runs the engine" in refused_because(monkeypatch, {"engine": engine}, picture(*HOSTS[:3]))


def test_a_host_whose_gang_still_serves_with_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "deploy the description without it first" in refused_because(monkeypatch, {}, picture(*HOSTS))
    assert refused_because(monkeypatch, {}, picture(*HOSTS[:3])) == ""
    assert refused_because(monkeypatch, {}, Answer(HOSTS[0], [{"gang": None}])) == ""


def test_a_silent_head_is_no_leave_to_end_a_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = Answer(HOSTS[0], reason="unreachable")
    assert "does not say whose" in refused_because(monkeypatch, {}, silent)
    assert refused_because(monkeypatch, {"ranks": 0}, silent) == ""


# The verb


class World:
    """What hosts answer, and what was done to them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.done: list[str] = []
        self.members, self.left, self.because = ALL, EMPTY, ""
        self.targets: list[Target] = []
        monkeypatch.setenv("GX10_STATE", str(tmp_path))
        monkeypatch.setattr(retire_commands, "described", lambda: SHORTER)
        monkeypatch.setattr(retire_commands, "known_members", lambda _: self.members)
        monkeypatch.setattr(retire_commands, "standing", self.standing)
        monkeypatch.setattr(retire_commands, "refusal", lambda *_: self.because)
        monkeypatch.setattr(retire_commands, "retire_host", self.retire)
        monkeypatch.setattr(retire_commands, "forget_runtime", lambda _, target: self.done.append(f"run {target.name}"))
        monkeypatch.setattr(retire_commands, "record", self.record)
        monkeypatch.setattr(retire_commands, "locked", self.locked)
        monkeypatch.setattr(retire_commands, "run", self.run)

    def standing(self, _: object, target: Target) -> Standing:
        self.targets.append(target)
        engine = "active" if target.name == HOSTS[0] else "inactive"
        return Standing(REMAINS, {**BESIDE, "engine": engine})

    def retire(self, _: object, target: Target, __: object, *, weights: bool, say: object) -> Standing:
        self.done.append(f"retire {target.name}{' with weights' * weights}")
        return self.left

    def record(self, _: object, members: Members, __: object) -> None:
        self.done.append(f"record {', '.join(members.hosts)}")

    def run(self, _: object, host: str, words: list[str], seconds: float) -> Answer:
        self.done.append(f"{host}: {' '.join(words[:3])}")
        return Answer(host, "")

    def locked(self, *_: object) -> Any:  # noqa: ANN401 - a context
        from contextlib import nullcontext  # noqa: PLC0415

        self.done.append("lock")
        return nullcontext()

    def type(self, *words: str) -> Result:
        return CliRunner().invoke(retire_commands.retire, words)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    return World(monkeypatch, tmp_path)


def test_by_default_it_only_shows(world: World) -> None:
    result = world.type(GONE)
    assert (result.exit_code, world.done) == (0, []), result.output
    for word in ("gx10-gang.service", "vllm-node:1", f"`gx10 retire {GONE} --yes`", "90-gx10.conf"):
        assert word in result.output


def test_with_yes_it_acts_under_the_lock_and_the_record_forgets_the_host(world: World) -> None:
    result = world.type(GONE, "--yes", "--weights")
    assert result.exit_code == 0, result.output
    rest = ", ".join(HOSTS[:3])
    assert world.done == ["lock", f"retire {GONE} with weights", f"record {rest}", f"run {GONE}"]
    assert f"{GONE} is retired." in result.output


def test_what_is_left_is_told_and_its_status_is_2(world: World) -> None:
    world.left = FOUND
    result = world.type(GONE, "--yes")
    assert result.exit_code == 2
    assert f"{GONE}: left: unit gx10-gang.service" in result.output


def test_a_described_host_is_refused_by_name_and_by_any_of_its_addresses(world: World) -> None:
    host = SHORTER.cluster.hosts[HOSTS[1]]
    for words in ((HOSTS[1],), ("old", "--address", str(host.management)), ("old", "--address", host.address)):
        result = world.type(*words, "--yes")
        assert (result.exit_code, world.done) == (64, []), result.output
        assert "is described in clusters/lab.yaml" in result.output


def test_a_host_that_nobody_knew_needs_its_address(world: World) -> None:
    result = world.type("other")
    assert result.exit_code == 64
    assert f"known is {GONE}. Name its --address." in result.output
    assert world.type("other", "--address", "10.77.0.99").exit_code == 0
    assert world.targets[-1].member.management == "10.77.0.99"
    assert world.type("other", "--address", "ten").exit_code == 64


@pytest.mark.parametrize(
    "words",
    [(), (GONE, "--all"), (GONE, "--forget", "--yes"), ("--all", "--forget"), ("--all", "--address", "10.1.1.1")],
)
def test_what_makes_no_sense_is_refused(world: World, words: tuple[str, ...]) -> None:
    assert (world.type(*words).exit_code, world.done) == (64, [])


def test_what_serves_is_refused(world: World) -> None:
    world.because = "it serves"
    result = world.type(GONE, "--yes")
    assert (result.exit_code, world.done) == (64, [])
    assert "it serves" in result.output


def test_forget_touches_no_host_but_the_record(world: World) -> None:
    result = world.type(GONE, "--forget")
    assert (result.exit_code, world.done) == (0, [f"record {', '.join(HOSTS[:3])}"])
    world.members = ALL.without(GONE)
    assert world.type(GONE, "--forget").exit_code == 64


def test_the_whole_cluster_drains_first_and_its_head_goes_last(world: World) -> None:
    assert world.type("--all").exit_code == 0
    assert world.done == []
    result = world.type("--all", "--yes")
    assert result.exit_code == 0, result.output
    order = [HOSTS[3], HOSTS[1], HOSTS[2], HOSTS[0]]
    assert world.done[:2] == ["lock", f"{HOSTS[0]}: {' '.join(retire_commands.CONTROL[:2])} stop"]
    assert world.done[2:] == [*(f"retire {name}" for name in order), *(f"run {name}" for name in order)]


def test_a_host_that_cannot_be_asked_is_1(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: object) -> Standing:
        raise RetireError("it is silent")

    monkeypatch.setattr(retire_commands, "standing", silent)
    assert world.type(GONE, "--yes").exit_code == 1
    assert world.done == []


# The steps


def test_the_steps_end_the_rank_first_and_close_the_ports_until_nothing_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps: list[tuple[list[str], Any]] = []
    answers = [FOUND, FOUND, EMPTY]
    there = {**BESIDE, "models": {"tiny": 1, "org/large": 2}}
    firewall = {"gx10-firewall.service": {"active": "active", "enabled": "enabled"}}
    found = Standing({**REMAINS, "units": {**REMAINS["units"], **firewall}}, there)  # type: ignore[dict-item]

    def run(_: object, __: str, words: list[str], seconds: float, stdin: str | None = None) -> Answer:
        steps.append((words, json.loads(stdin) if stdin else None))
        return Answer(GONE, json.dumps({"digest": "d"}))

    monkeypatch.setattr(retirement, "run", run)
    monkeypatch.setattr(retirement, "standing", lambda *_: answers.pop(0))
    left = retirement.retire(SHORTER, TARGET, found, weights=True, say=lambda _: None)
    assert left is EMPTY
    first, *others = [stdin for _, stdin in steps if isinstance(stdin, dict) and "units" in stdin]
    assert list(first["units"]) == ["gx10-gang.service"]
    assert first["files"] == []
    assert [list(stdin["units"]) for stdin in others if stdin["units"]] == [["gx10-firewall.service"]]
    assert others[-1]["files"] == REMAINS["files"]
    words = [" ".join(words) for words, _ in steps]
    assert any("docker image rm -- vllm-node:1" in line for line in words)
    assert any("clean --approved d" in line for line in words)
    assert any("nft delete table inet gx10" in line for line in words)
    assert [stdin["directories"] for _, stdin in steps if isinstance(stdin, dict) and stdin.get("directories")] == [
        ["/srv/models/org"]
    ], "only above what went, and only when nothing else is in it"
    keys = next(stdin for _, stdin in steps if isinstance(stdin, dict) and "remove" in stdin)
    assert keys == {"login": "root", "remove": [BESIDE["authorized"][1]], "add": None}


def test_a_step_that_fails_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retirement, "run", lambda *_, **__: Answer(GONE, reason="unreachable"))
    with pytest.raises(RetireError, match="run the same command again"):
        retirement.retire(SHORTER, TARGET, FOUND, weights=False, say=lambda _: None)


def test_a_target_is_logged_in_to_at_its_own_address() -> None:
    from gx10.access.login import ssh_arguments  # noqa: PLC0415 - only here

    assert ssh_arguments(TARGET.within(SHORTER), GONE)[-1] == TARGET.member.management
    told = Member(**{**TARGET.member.__dict__, "management": "10.9.9.9"})
    assert ssh_arguments(Target("new", told).within(describe("lab")), "new")[-1] == "10.9.9.9"


def test_the_clusters_lines_leave_the_hosts_file_as_it_was(tmp_path: Path) -> None:
    path, before = tmp_path / "hosts", b"127.0.0.1 localhost\n\n# mine\n"
    path.write_bytes(before)
    for lines in (["10.0.0.1 gx10-1"], None):
        told = {"path": str(path), "marks": marks("gx10"), "lines": lines}
        subprocess.run(
            [sys.executable, *writer_words("block")[1:]], input=json.dumps(told), text=True, check=True, timeout=60
        )
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["hosts"]  # noqa: PTH208 - names as they are


# What a host tells

DOCKER = """
import sys
words = " ".join(sys.argv[1:])
if words.startswith("image ls"):
    assert "label=gx10.inputs" in words
    print('{"Repository": "vllm-node", "Tag": "1", "ID": "sha256:aa"}')
    print('{"Repository": "<none>", "Tag": "<none>", "ID": "sha256:bb"}')
elif words.startswith("image inspect"):
    print(7)
elif words.startswith("container ls"):
    print("gx10-ray")
    print("mine")
"""


def told_by_host(tmp_path: Path, docker: str = DOCKER) -> subprocess.CompletedProcess[str]:
    """The probe's answer where docker, nft and systemctl say what a test wants."""
    commands = {
        "docker": docker,
        "nft": "import sys; sys.exit(1)",
        "systemctl": "print('inactive'); raise SystemExit(3)",
    }
    env: dict[str, str] = {}
    for name, program in commands.items():
        env = command_on_path(tmp_path / "bin", name, program)
    archive = tmp_path / "archive"
    (archive / "blobs/sha256").mkdir(parents=True, exist_ok=True)
    (archive / "blobs/sha256/00").write_bytes(b"123")
    hosts = tmp_path / "hosts"
    hosts.write_bytes(b"127.0.0.1 \xff\n# gx10: begin\n")
    stays = replace(TARGET.member, archive=str(archive), model_root=str(tmp_path / "models"))
    asked = {**beside(SHORTER, stays), "hosts": str(hosts), "login": pwd.getpwuid(os.getuid()).pw_name}
    return run_probe("retirement", asked, env)


def test_a_host_tells_what_is_there_by_reference_and_by_name(tmp_path: Path) -> None:
    done = told_by_host(tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["images"] == {"vllm-node:1": 7, "sha256:bb": 7}
    assert told["containers"] == ["gx10-ray"]
    assert told["archive"] == {"files": 1, "bytes": 3}
    assert (told["table"], told["engine"], told["model_root"]) == (False, "inactive", False)
    assert Standing(NOTHING, told).names
    assert told["hosts"][1] == "# gx10: begin"


def test_a_docker_that_does_not_answer_is_an_error_and_not_an_absence(tmp_path: Path) -> None:
    refused(told_by_host(tmp_path, "import sys; sys.exit('no daemon')"), "no daemon")


def test_weights_go_with_the_program_that_is_carried_and_what_no_manifest_stands_in_stays(tmp_path: Path) -> None:
    root = tmp_path / "models"
    stored(root / "org/tiny", {"a": 10})
    stored(root / "other", {"a": 10})
    (root / "own").mkdir()
    (root / "own/file").write_text("precious")
    env = {**os.environ, **command_on_path(tmp_path / "bin", "docker", "")}
    member_here = replace(TARGET.member, model_root=str(root))

    def partition(*words: str, named: tuple[str, ...]) -> Any:  # noqa: ANN401 - JSON
        command = [sys.executable, *partition_words(*words)[1:]]
        policy = json.dumps(models_policy(member_here, named))
        done = subprocess.run(command, input=policy, capture_output=True, text=True, timeout=60, check=False, env=env)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    plan = partition("plan", named=("org/tiny",))
    assert [item["path"] for item in plan["items"]] == ["org/tiny"]
    assert [(model["path"], model["bytes"]) for model in plan["models"]] == [("org/tiny", 10), ("other", 10)]
    partition("clean", "--approved", plan["digest"], named=("org/tiny",))
    assert sorted(path.name for path in root.iterdir()) == ["org", "other", "own"]
    assert not (root / "org/tiny").exists()

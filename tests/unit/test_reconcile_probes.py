"""What the nightly run asks hosts: answers, or errors; never an absence that is really a failure."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from gx10.described.containers import described_containers
from gx10.described.description import Description, describe
from gx10.described.image_inputs import LABEL
from gx10.described.live import live_question
from gx10.described.units import ENGINE_CONTAINER, RAY_CONTAINER
from gx10.probes import probe_words

from .host_side import PROBES, command_on_path, free_port, read_json, refused
from .test_probes import ask, nothing
from .test_probes import run as run_probe


@pytest.fixture
def description() -> Description:
    return describe("lab")


# reach


def test_reach_tells_what_the_head_keeps_and_an_unreadable_file_from_an_absent_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "good").write_text('{"a": 1}')
    (tmp_path / "bad").write_text("{")
    read = {name: str(tmp_path / name) for name in ("good", "bad", "absent")}
    told: Any = ask("reach", {"read": read})
    assert isinstance(bad := told["read"].pop("bad"), str)
    assert str(tmp_path / "bad") in bad
    assert told["read"] == {"good": {"a": 1}, "absent": None}
    assert abs(told["clock"] - time.time()) < 60


# sample


def stored(root: Path, sizes: dict[str, int]) -> None:
    """Content with its manifest, proven."""
    root.mkdir(parents=True)
    files = []
    for name, size in sizes.items():
        (root / name).write_bytes(os.urandom(size))
        digest = hashlib.sha256((root / name).read_bytes()).hexdigest()
        files.append({"path": name, "size": size, "sha256": digest})
    (root / ".gx10-manifest.json").write_text(json.dumps({"name": "n", "files": files}))
    proven = {file["path"]: [file["sha256"], (root / str(file["path"])).stat().st_mtime_ns] for file in files}
    (root / ".gx10-proven.json").write_text(json.dumps(proven))


def sampled(root: Path, turn: int = 0, parts: int = 1) -> dict[str, Any]:
    """What the probe says."""
    asked = {"sets": [{"root": str(root), "manifests": ".gx10-manifest.json"}], "turn": turn, "parts": parts}
    words = [sys.executable, *probe_words("sample", asked)[1:]]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_a_flipped_bit_that_kept_size_and_time_is_found_and_no_longer_proven(tmp_path: Path) -> None:
    root = tmp_path / "model"
    stored(root, {"a": 5000, "b": 5000})
    assert sampled(root) == {"files": 2, "bytes": 10000, "damaged": []}
    before = (root / "b").stat()
    content = bytearray((root / "b").read_bytes())
    content[100] ^= 1
    (root / "b").write_bytes(content)
    os.utime(root / "b", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert sampled(root)["damaged"] == [f"{root}/b"]
    assert list(read_json(root / ".gx10-proven.json")) == ["a"], "the next plan finds it"


@pytest.mark.parametrize("parts", [1, 2, 3, 4, 9])
def test_in_so_many_turns_every_file_has_its_own(tmp_path: Path, parts: int) -> None:
    root = tmp_path / "model"
    stored(root, {"a": 1000, "b": 2000, "c": 3000, "d": 500})
    for name in "abcd":
        content = bytearray((root / name).read_bytes())
        content[0] ^= 1
        (root / name).write_bytes(content)
    turns = [sampled(root, turn, parts)["damaged"] for turn in range(7, 7 + parts)]
    assert sorted(Path(name).name for damaged in turns for name in damaged) == list("abcd")


def test_no_probe_reads_the_hosts_programs_and_what_one_carries_fits_into_an_argument() -> None:
    for path in sorted(PROBES.glob("[a-z]*.py")):
        text = path.read_text()
        assert "usr/local/lib/gx10" not in text, f"{path.name}: what it judges may be what has drifted"
        assert len(" ".join(probe_words(path.stem, {}))) < 30_000


def test_content_without_a_manifest_is_nothing_to_hash(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert sampled(tmp_path / "empty") == {"files": 0, "bytes": 0, "damaged": []}


# idle


class Engine:
    """An engine that tells its gauges."""

    def __init__(self) -> None:
        self.gauges: list[str] = []
        engine = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                text = engine.gauges.pop(0) if len(engine.gauges) > 1 else engine.gauges[0]
                self.send_response(200)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def gauges(running: float, waiting: float) -> str:
    return (
        f'vllm:num_requests_running{{engine="0",model_name="m"}} {running}\n'
        f'vllm:num_requests_waiting{{engine="0",model_name="m"}} {waiting}\n'
        'vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 9\n'
    )


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.server.shutdown()
    engine.server.server_close()


def idle(url: str, idle_seconds: float = 0.5, seconds: float = 2) -> Any:  # noqa: ANN401 - JSON
    return ask("idle", {"url": url, "idle_seconds": idle_seconds, "seconds": seconds})


def test_an_engine_without_a_request_is_idle_after_a_while(engine: Engine) -> None:
    engine.gauges = [gauges(0.0, 0.0)]
    started = time.monotonic()
    assert idle(engine.url) == {"idle": True, "requests": 0}
    assert time.monotonic() - started >= 0.5


@pytest.mark.parametrize(("running", "waiting"), [(1, 0), (0, 1), (2, 3)])
def test_a_request_that_runs_or_waits_keeps_it_from_being_idle(engine: Engine, running: int, waiting: int) -> None:
    engine.gauges = [gauges(running, waiting)]
    assert idle(engine.url, seconds=1) == {"idle": False, "requests": running + waiting}


def test_a_request_that_comes_meanwhile_starts_the_wait_anew(engine: Engine) -> None:
    engine.gauges = [gauges(0, 0), gauges(1, 0), gauges(0, 0)]
    started = time.monotonic()
    assert idle(engine.url, 0.6, 5)["idle"]
    assert time.monotonic() - started >= 1


def test_an_engine_that_does_not_say_is_not_idle(engine: Engine) -> None:
    engine.gauges = ["vllm:num_requests_running 0\n"]
    assert idle(engine.url, seconds=1) == {"idle": False, "requests": None}
    assert idle(f"http://127.0.0.1:{free_port()}", seconds=1) == {"idle": False, "requests": None}


# live


def live(tmp_path: Path, asked: dict[str, Any], commands: dict[str, str] | None = None) -> dict[str, Any]:
    """The probe's answer where docker, nft and systemctl say what a test wants."""
    env: dict[str, str] = {}
    for name, program in {"docker": "", "nft": "", "systemctl": "", **(commands or {})}.items():
        env = command_on_path(tmp_path / "bin", name, program)
    told: dict[str, Any] = ask("live", asked, env)
    return told


def test_everything_that_lies_in_an_owned_directory_is_told_byte_code_and_directories_too(tmp_path: Path) -> None:
    root = tmp_path / "owned"
    (root / "below/__pycache__").mkdir(parents=True)
    for name in ("one", "below/two", "below/__pycache__/x.pyc", ".hidden", ".x.gx10-partial"):
        (root / name).touch()
    (root / "link").symlink_to("one")
    told = live(tmp_path, {"owned": [str(root)]})
    lies = (".hidden", "below", "below/__pycache__", "below/__pycache__/x.pyc", "below/two", "link", "one")
    assert told["extra"] == {str(root): sorted(f"{root}/{name}" for name in lies)}


def test_containers_that_do_not_belong_are_told(tmp_path: Path) -> None:
    told = live(tmp_path, {"containers": ["gx10-ray"]}, {"docker": 'print("gx10-ray\\tnode:1\\nmine\\tother:2")'})
    assert told["others"] == {"mine": "other:2"}


def test_drop_ins_are_told_by_unit(tmp_path: Path) -> None:
    said = "Id=a.service\\nDropInPaths=\\n\\nId=b.service\\nDropInPaths=/etc/x.conf /run/y.conf"
    told = live(tmp_path, {"units": ["a.service", "b.service"]}, {"systemctl": f'print("{said}")'})
    assert told["drop_ins"] == {"b.service": ["/etc/x.conf", "/run/y.conf"]}


def test_a_process_that_runs_a_deleted_executable_is_told(tmp_path: Path) -> None:
    program = tmp_path / "sleeper"
    program.write_bytes(Path("/usr/bin/sleep").read_bytes())
    program.chmod(0o755)
    with subprocess.Popen([str(program), "60"]) as running:
        said = f'print("Id=a.service\\nMainPID={running.pid}")'
        try:
            assert live(tmp_path, {"services": ["a.service"]}, {"systemctl": said})["deleted"] == {}
            program.unlink()
            told = live(tmp_path, {"services": ["a.service"]}, {"systemctl": said})
            assert told["deleted"] == {"a.service": str(program)}
        finally:
            running.kill()


def test_a_process_that_runs_another_program_than_its_unit_names_is_told(tmp_path: Path) -> None:
    older, newer = tmp_path / "older.py", tmp_path / "newer"
    for path in (older, newer):
        path.write_text(f"#!{sys.executable} -SE\nprint(flush=True)\nimport time\ntime.sleep(60)\n")
        path.chmod(0o755)
    with subprocess.Popen([older, "--config", "x"], stdout=subprocess.PIPE) as running:
        assert running.stdout
        running.stdout.readline()
        said = f"Id=a.service\\nMainPID={running.pid}\\nExecStart={{ path=PATH ; argv[]=PATH --config x ; }}"
        try:
            for path, told in ((older, {}), (newer, {"a.service": str(older)}), (Path("/usr/bin/sleep"), {})):
                says = {"systemctl": f'print("{said.replace("PATH", str(path))}")'}
                assert live(tmp_path, {"services": ["a.service"]}, says)["former"] == told
        finally:
            running.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="an empty network namespace takes root")
def test_live_rules_are_compared_with_what_the_described_text_makes(tmp_path: Path, description: Description) -> None:
    question = live_question(description, "gx10-1")["nft"]
    env = command_on_path(tmp_path / "bin", "docker", "")
    told: Any = ask("live", {"nft": question}, env)
    assert told["nft"]["live"] == "absent", "this machine has no such table"
    other = {**question, "text": question["text"].replace("drop", "accept")}
    assert ask("live", {"nft": other}, env)["nft"]["described"] != told["nft"]["described"]  # type: ignore[index]
    again = {**question, "text": "# other words\n" + question["text"]}
    assert ask("live", {"nft": again}, env)["nft"]["described"] == told["nft"]["described"]  # type: ignore[index]


def test_a_host_that_cannot_be_asked_is_an_error(tmp_path: Path) -> None:
    refused(run_probe("live", {"containers": ["x"]}, nothing(tmp_path)), "docker")
    env = command_on_path(tmp_path / "bin", "docker", "import sys; sys.exit('daemon is gone')")
    refused(run_probe("live", {"containers": ["x"]}, env), "daemon is gone")


# watch and keys


def test_what_the_reconciler_needs_is_told(tmp_path: Path) -> None:
    me = pwd.getpwuid(os.getuid()).pw_name
    make_key(tmp_path / "key")
    public = (tmp_path / "key.pub").read_text().strip()
    (tmp_path / "project/gx10").mkdir(parents=True)
    (tmp_path / "project/gx10/a.py").write_text("x")
    (tmp_path / "env/lib").mkdir(parents=True)
    (tmp_path / "env/lib/b.py").write_text("y")
    (tmp_path / "env/.gx10-environment.json").write_text('{"lock": "l", "tree": "t"}')
    asked = {
        "user": me, "key": str(tmp_path / "key"), "login": me, "comment": "gx10-reconcile@nowhere",
        "environment": str(tmp_path / "env"), "project": str(tmp_path / "project"),
    }  # fmt: skip
    told: Any = ask("watch", asked)
    assert told["key"] == public
    assert told["project"]["gx10/a.py"][0] == hashlib.sha256(b"x").hexdigest()
    first = told["environment"]["found"]
    (tmp_path / "env/lib/b.py").write_text("z")
    assert ask("watch", asked)["environment"]["found"] != first  # type: ignore[index]
    (tmp_path / "env/lib/__pycache__").mkdir()
    (tmp_path / "env/.gx10-environment.json").unlink()
    told = ask("watch", {**asked, "user": "nobody-here", "key": str(tmp_path / "none")})
    assert (told["user"], told["key"], told["environment"]) == (None, None, None)


def make_key(path: Path) -> None:
    """A key of its own, with its public half."""
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "gx10-reconcile@nowhere", "-f", str(path)]
    subprocess.run(words, check=True, timeout=60)


@pytest.mark.parametrize("what", ["other half", "damaged", "no other half"])
def test_a_key_whose_halves_do_not_belong_together_is_none(tmp_path: Path, what: str) -> None:
    make_key(tmp_path / "key")
    if what == "other half":
        make_key(tmp_path / "another")
        (tmp_path / "another.pub").rename(tmp_path / "key.pub")
    elif what == "damaged":
        (tmp_path / "key").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    else:
        (tmp_path / "key.pub").unlink()
    asked = {"user": "nobody-here", "key": str(tmp_path / "key"), "login": "root", "comment": "x"}
    told: Any = ask("watch", {**asked, "environment": "", "project": ""})
    assert told["key"] is None


def test_everything_of_the_users_that_says_what_may_be_done_as_it_is_told(tmp_path: Path) -> None:
    asked = {"user": "nobody", "key": str(tmp_path / "key"), "login": "root", "comment": "x"}
    told: Any = ask("watch", {**asked, "environment": "", "project": ""})
    assert told["user"] == {
        "home": "/nonexistent", "shell": "/usr/sbin/nologin", "groups": [], "locked": True, "expires": "",
    }  # fmt: skip


# containers against their units


def as_described(description: Description, host: str, name: str) -> dict[str, Any]:
    """What docker says of a container that the supervisor has its unit start in the seventh life of a generation."""
    told = described_containers(description, host)[name]
    image = {"PATH": "0" * 64}
    labels = {
        "gx10.cluster": "lab", "gx10.host": host, "gx10.container": name,
        "gx10.generation": "abcd", "gx10.life": "7",
    }  # fmt: skip
    rank = {"GX10_RANK_OF": hashlib.sha256(b"abcd.7").hexdigest()}
    return {
        "image": told.image, "image_labels": {LABEL: told.inputs}, "command": list(told.command),
        "environment": {**told.environment, **image, **rank}, "image_environment": image, "labels": labels,
        "binds": list(told.binds), "privileged": False, "capabilities": list(told.capabilities),
    }  # fmt: skip


def test_a_container_as_its_unit_starts_it_deviates_in_nothing(description: Description) -> None:
    for host in description.cluster.hosts:
        for name, told in described_containers(description, host).items():
            assert list(told.deviations(as_described(description, host, name))) == []
    assert set(described_containers(description, "gx10-1")) == {RAY_CONTAINER, ENGINE_CONTAINER}
    engine = described_containers(description, "gx10-1")[ENGINE_CONTAINER]
    assert engine.command == description.argv
    assert {"VLLM_HOST_IP", "RAY_ADDRESS"} <= set(engine.environment)


@pytest.mark.parametrize(
    ("labels", "deviations"),
    [
        ({"gx10.life": "8"}, ["no life of the gang"]),
        ({"gx10.generation": "ef"}, ["no life of the gang"]),
        ({"gx10.life": None}, ["no life of the gang"]),
        ({"gx10.host": "gx10-3"}, ["other labels"]),
        ({"gx10.container": None, "gx10.generation": None}, ["no life of the gang", "other labels"]),
    ],
)
def test_a_container_of_another_life_or_of_none_is_told(
    description: Description, labels: dict[str, str | None], deviations: list[str]
) -> None:
    told = described_containers(description, "gx10-2")[RAY_CONTAINER]
    found = as_described(description, "gx10-2", RAY_CONTAINER)
    changed = {**found["labels"], **labels}
    found["labels"] = {name: value for name, value in changed.items() if value is not None}
    assert list(told.deviations(found)) == deviations


def test_a_fallback_is_known_by_its_name_and_any_other_command_deviates(description: Description) -> None:
    told = described_containers(description, "gx10-1")[ENGINE_CONTAINER]
    assert list(told.fallbacks.values()) == [rung.argv for rung in description.checked.fallbacks]
    found = as_described(description, "gx10-1", ENGINE_CONTAINER)
    assert told.fallback(found) == ""
    for rung in description.checked.fallbacks:
        found["command"] = list(rung.argv)
        assert (told.fallback(found), list(told.deviations(found))) == (rung.name, [])
    found["command"] = [*found["command"], "--by-hand"]
    assert (told.fallback(found), list(told.deviations(found))) == ("", ["another command line"])
    assert not described_containers(description, "gx10-1")[RAY_CONTAINER].fallbacks


@pytest.mark.parametrize(
    ("changed", "deviation"),
    [
        ({"image": "other:1"}, "image other:1"),
        ({"image_labels": {}}, "an image of other inputs"),
        ({"command": ["sleep", "1"]}, "another command line"),
        ({"privileged": True}, "other privileges"),
        ({"capabilities": []}, "other privileges"),
        ({"binds": []}, "other volumes"),
    ],
)
def test_what_a_container_has_otherwise_is_named(
    description: Description, changed: dict[str, Any], deviation: str
) -> None:
    told = described_containers(description, "gx10-2")[RAY_CONTAINER]
    found = {**as_described(description, "gx10-2", RAY_CONTAINER), **changed}
    assert list(told.deviations(found)) == [deviation]


def test_environment_is_named_and_its_values_are_not(description: Description) -> None:
    told = described_containers(description, "gx10-2")[RAY_CONTAINER]
    found = as_described(description, "gx10-2", RAY_CONTAINER)
    found["environment"] = {**found["environment"], "VLLM_HOST_IP": "1" * 64, "TOKEN": "2" * 64}
    del found["environment"]["NCCL_SOCKET_IFNAME"]
    (deviation,) = told.deviations(found)
    assert deviation == "another environment: NCCL_SOCKET_IFNAME, TOKEN, VLLM_HOST_IP"

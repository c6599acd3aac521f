"""Probes: one line of JSON that answers everything, or an error; never an absence that is really a failure."""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from gx10.probes import probe_words, survey_words

from .host_side import PROBES, SECONDS, command_on_path, free_port, refused
from .host_side import run as run_program


def run(probe: str, asked: dict[str, object], env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a probe as a host does: its text and its question as arguments."""
    command = [sys.executable, *probe_words(probe, asked)[1:]]
    environment = {**os.environ, **(env or {})}
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, env=environment)


def ask(probe: str, asked: dict[str, object], env: dict[str, str] | None = None) -> dict[str, object]:
    """The answer of a probe, which must be one line."""
    done = run(probe, asked, env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    told: dict[str, object] = json.loads(done.stdout)
    return told


def nothing(tmp_path: Path) -> dict[str, str]:
    """An environment in which no command is found."""
    (tmp_path / "empty").mkdir(exist_ok=True)
    return {"PATH": str(tmp_path / "empty")}


def test_a_survey_answers_each_question_as_its_probe_does_and_null_where_that_fails(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "file").write_bytes(b"content")
    paths = [str(tmp_path / "file"), str(tmp_path / "absent")]
    questions: list[tuple[str, dict[str, object]]] = [
        ("files", {"paths": paths}),
        ("docker", {"images": ["a:b"], "containers": []}),
        ("content", {"archive": "", "image": "", "model": str(tmp_path / "model")}),
        ("leftovers", {"policy": "no policy"}),
        ("files", {"paths": paths[:1]}),
    ]
    command = [sys.executable, *survey_words(questions)[1:]]
    environment = {**os.environ, **nothing(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True, env=environment)
    files, docker, content, leftovers, again = map(json.loads, done.stdout.splitlines())
    assert files == ask("files", {"paths": paths})
    assert content == ask("content", {"archive": "", "image": "", "model": str(tmp_path / "model")})
    assert docker is None, "there is no docker command"
    assert leftovers is None
    assert again == {paths[0]: files[paths[0]]}


def test_a_survey_is_one_argument_that_a_kernel_takes() -> None:
    everything = sorted(path.stem for path in PROBES.glob("[a-z]*.py") if path.stem != "survey")
    words = survey_words([(probe, {"asked": "x" * 1000}) for probe in everything])
    quoted = shlex.quote(shlex.join(words))
    assert len(quoted) < 0.8 * 128 * 1024, "Linux takes 128 KiB, and a sudo or a shell's words are to come"


def test_files_are_told_with_kind_mode_owner_and_hash(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "file").chmod(0o640)
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "odd\nname").write_bytes(b"")
    paths = [str(tmp_path / name) for name in ("file", "link", ".", "absent", "file/below", "odd\nname")]
    told = ask("files", {"paths": paths})
    owner = {"user": pwd.getpwuid(os.getuid()).pw_name, "group": grp.getgrgid(os.getgid()).gr_name}
    digest = hashlib.sha256(b"content").hexdigest()
    assert told[paths[0]] == {"kind": "file", "mode": "640", "sha256": digest, **owner}
    kinds = [found and found["kind"] for found in (told[path] for path in paths)]  # type: ignore[index]
    assert kinds == ["file", "link", "directory", None, None, "file"]


BEGIN, END = "# gx10: begin", "# gx10: end"


@pytest.mark.parametrize(
    ("text", "block"),
    [
        (f"{BEGIN}\none\ntwo\n{END}\nother\n", ["one", "two"]),
        (f"{BEGIN}\n{END}", []),
        (f"other\n{BEGIN}\none\n{END}\n", None),
        (f"{BEGIN}\none\n", None),
        (f"{END}\n{BEGIN}\none\n", None),
        (f"{BEGIN}\none\n{END}\nother\n{BEGIN}\ntwo\n{END}\n", None),
        (f"{BEGIN}\none\n{END}\nother\n{END}\n", None),
        ("other\n", None),
        ("", None),
    ],
    ids=["leads", "empty", "not first", "no end", "reversed", "two blocks", "two ends", "no mark", "empty file"],
)
def test_block_is_told_only_where_it_leads_the_file_whole(tmp_path: Path, text: str, block: list[str] | None) -> None:
    path = tmp_path / "hosts"
    path.write_text(text)
    told = ask("files", {"paths": [], "blocks": {str(path): [BEGIN, END]}})
    assert told[str(path)]["block"] == block  # type: ignore[index]


def test_block_of_what_is_no_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("nowhere")
    blocks = {str(tmp_path / name): [BEGIN, END] for name in ("dangling", ".", "absent")}
    told = ask("files", {"paths": [], "blocks": blocks})
    assert told.pop(str(tmp_path / "absent")) is None
    assert [found["block"] for found in told.values()] == [None, None]  # type: ignore[index]


IMAGE = {
    "Id": "sha256:1", "RepoTags": ["node:abc", "plain:latest"], "RepoDigests": ["node@sha256:2"], "Size": 7,
    "RootFS": {"Layers": ["sha256:3"]}, "Config": {"Labels": {"gx10.inputs": "4"}, "Env": ["A=1"]},
}  # fmt: skip
CONTAINER = {
    "Name": "/gx10-ray", "Image": "sha256:1", "Config": {"Labels": None, "Image": "node:abc"},
    "State": {"Running": True, "Status": "running", "StartedAt": "2026-01-01T00:00:00Z"},
}  # fmt: skip
DOCKER = f"""
import json, sys
kind, names = sys.argv[1], sys.argv[3:]
known = {{"node:abc": {IMAGE!r}, "plain": {IMAGE!r}, "node@sha256:2": {IMAGE!r}}} if kind == "image" else {{
    "gx10-ray": {CONTAINER!r}}}
print(json.dumps([known[name] for name in names if name in known]))
for name in names:
    if name not in known:
        print(f"Error response from daemon: No such {{kind}}: {{name}}", file=sys.stderr)
sys.exit(any(name not in known for name in names))
"""


def test_images_and_containers_are_told_by_the_name_they_were_asked_for(tmp_path: Path) -> None:
    env = command_on_path(tmp_path, "docker", DOCKER)
    images = ["node:abc", "plain", "node@sha256:2", "absent:1"]
    told = ask("docker", {"images": images, "containers": ["gx10-ray", "gx10-engine"]}, env)
    found = told["images"]
    assert isinstance(found, dict)
    assert list(found) == images
    assert found["absent:1"] is None
    for name in images[:3]:
        assert (found[name]["layers"], found[name]["labels"]) == (["sha256:3"], {"gx10.inputs": "4"})
    containers = told["containers"]
    assert isinstance(containers, dict)
    assert containers["gx10-engine"] is None
    assert (containers["gx10-ray"]["running"], containers["gx10-ray"]["labels"]) == (True, {})


@pytest.mark.parametrize(
    "said",
    [
        "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
        "failed to connect to the docker API: dial unix /var/run/docker.sock: connect: no such file or directory",
        "permission denied while trying to connect to the Docker daemon socket",
        "",
    ],
)
def test_daemon_that_does_not_answer_is_an_error_and_no_absence(tmp_path: Path, said: str) -> None:
    env = command_on_path(tmp_path, "docker", f"import sys; print('[]'); print({said!r}, file=sys.stderr); sys.exit(1)")
    refused(run("docker", {"images": ["node:abc"]}, env), "docker image inspect", said)


def test_host_without_docker_is_an_error_of_the_docker_probe(tmp_path: Path) -> None:
    refused(run("docker", {"images": ["node:abc"]}, nothing(tmp_path)), "docker image inspect", "docker")


def test_docker_probe_that_is_asked_nothing_asks_nobody(tmp_path: Path) -> None:
    assert ask("docker", {"images": [], "containers": []}, nothing(tmp_path)) == {"images": {}, "containers": {}}


def test_host_offer_tells_what_is_there(tmp_path: Path) -> None:
    info = {"ServerVersion": "28.0", "Driver": "overlay2", "DockerRootDir": str(tmp_path), "Runtimes": {"nvidia": {}}}
    env = command_on_path(tmp_path / "bin", "docker", f"print({json.dumps(info)!r})")
    told = ask("host", {"paths": [str(tmp_path / "not/yet")], "commands": ["sh", "no-such-command"]}, env)
    assert told["docker"] == {
        "ok": True, "error": "", "version": "28.0", "driver": "overlay2", "root": str(tmp_path), "runtimes": ["nvidia"],
        "daemon": {
            "version": "28.0", "storage driver": "overlay2", "data root": str(tmp_path), "cgroup driver": "",
            "cgroup version": "", "default runtime": "", "runtime nvidia": "",
        },
    }  # fmt: skip
    assert told["commands"] == {"sh": True, "no-such-command": False}
    free = told["free"]
    assert isinstance(free, dict)
    assert free[str(tmp_path / "not/yet")] > 0
    assert free[str(tmp_path)] > 0
    assert told["memory_total_gib"] == pytest.approx(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30)
    assert told["python"] == list(sys.version_info[:2])


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("import sys; sys.exit('Cannot connect to the Docker daemon')", "Cannot connect"),
        ('print(\'{"ServerErrors": ["Is the docker daemon running?"]}\')', "daemon running"),
        ("print('what')", "no JSON"),
        (None, "docker"),
    ],
    ids=["fails", "old client", "garbage", "absent"],
)
def test_host_offer_without_docker_says_why(tmp_path: Path, program: str | None, error: str) -> None:
    env = command_on_path(tmp_path, "docker", program) if program else nothing(tmp_path)
    daemon = ask("host", {"paths": ["/"], "commands": []}, env)["docker"]
    assert isinstance(daemon, dict)
    assert daemon["ok"] is False
    assert error in daemon["error"]


SYSTEMCTL = """
import sys
if sys.argv[1] == "get-default":
    print("multi-user.target")
else:
    told = {"ssh.service": "Id=sshd.service\\nLoadState=loaded\\nActiveState=active\\nDropInPaths=/a=b"}
    names = sys.argv[sys.argv.index("--") + 1:]
    print("\\n\\n".join(told.get(name, f"Id={name}\\nLoadState=not-found\\nActiveState=inactive") for name in names))
"""
DPKG = """
import sys
print("docker.io\\tii \\nlibc6:amd64\\tii \\nold\\trc ")
print("dpkg-query: no packages found matching gone", file=sys.stderr)
sys.exit(1)
"""


def test_system_state_is_told_by_the_names_asked_for(tmp_path: Path) -> None:
    env = command_on_path(tmp_path, "systemctl", SYSTEMCTL) | command_on_path(tmp_path, "dpkg-query", DPKG)
    asked = {
        "sysctls": ["kernel.ostype", "no.such.key"],
        "packages": ["docker.io", "libc6", "old", "gone"],
        "groups": [grp.getgrgid(0).gr_name, "no-such-group"],
        "units": ["ssh.service", "absent.service"],
        "systemd_sysctl": "/usr/bin/true",
    }
    told = ask("system", asked, env)
    assert told["sysctls"] == {"kernel.ostype": "Linux", "no.such.key": None}
    assert told["packages"] == ["docker.io", "libc6"]
    assert told["default_target"] == "multi-user.target"
    assert told["default_link"] in {"", "multi-user.target", "graphical.target"}
    assert told["groups"] == {grp.getgrgid(0).gr_name: grp.getgrgid(0).gr_mem, "no-such-group": None}
    assert told["units"] == {
        "ssh.service": {"LoadState": "loaded", "ActiveState": "active", "DropInPaths": "/a=b", "Astray": []},
        "absent.service": {"LoadState": "not-found", "ActiveState": "inactive", "Astray": []},
    }


@pytest.mark.parametrize(
    "systemctl", [None, "import sys; sys.exit('Failed to connect to bus')", "pass"], ids=["absent", "no bus", "silent"]
)
def test_system_state_that_cannot_be_asked_is_an_error(tmp_path: Path, systemctl: str | None) -> None:
    env = command_on_path(tmp_path, "systemctl", systemctl) if systemctl else nothing(tmp_path)
    refused(run("system", {"units": ["ssh.service"]}, env), "systemctl")


class Api(BaseHTTPRequestHandler):
    """Answers /v1/models with what its server holds."""

    def do_GET(self) -> None:
        """What is served."""
        body = self.server.body  # type: ignore[attr-defined]
        self.send_response(200 if self.path == "/v1/models" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def api() -> Iterator[HTTPServer]:
    """An engine's API on 127.0.0.1."""
    with HTTPServer(("127.0.0.1", 0), Api) as server:
        server.body = b'{"data": [{"id": "nano"}]}'  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def test_served_models_are_asked_of_the_own_engine_without_a_proxy(api: HTTPServer) -> None:
    told = ask("serving", {"url": f"http://127.0.0.1:{api.server_port}"}, {"http_proxy": "http://127.0.0.1:1"})
    assert told["models"] == ["nano"]
    memory = told["memory"]
    assert isinstance(memory, dict)
    assert memory["total_gib"] > memory["available_gib"] > 0


@pytest.mark.parametrize("body", [b"", b"null", b'{"data": null}', b'{"data": [{}]}', b"[]"])
def test_api_that_answers_anything_else_serves_nothing(api: HTTPServer, body: bytes) -> None:
    api.body = body  # type: ignore[attr-defined]
    assert ask("serving", {"url": f"http://127.0.0.1:{api.server_port}"})["models"] is None


def test_absent_api_serves_nothing() -> None:
    assert ask("serving", {"url": None})["models"] is None
    assert ask("serving", {"url": f"http://127.0.0.1:{free_port()}"})["models"] is None


def test_stored_content_tells_what_is_not_proven(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "source" / name).write_bytes(name.encode() * 1000)
    model = tmp_path / "model"
    assert ask("content", {"model": str(model)}) == {"model": None}
    staged = run_program("content", "stage", "--source", tmp_path / "source", "--to", model, "--name", "tiny")
    assert staged.returncode == 0, staged.stderr
    told = ask("content", {"model": str(model), "archive": str(tmp_path), "image": "x.json"})
    assert told["archive"] is None
    found = told["model"]
    assert isinstance(found, dict)
    assert (found["files"], found["bytes"], found["unproven"]) == (3, 3000, [])
    (model / "a").write_bytes(b"x" * 1000)
    (model / "b").unlink()
    (model / "c").rename(model / "d")
    (model / "c").symlink_to("d")
    again = ask("content", {"model": str(model)})["model"]
    assert isinstance(again, dict)
    assert again["unproven"] == ["a", "b", "c"]
    assert again["digest"] == found["digest"]


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"name": "x"}'])
def test_manifest_that_is_none_counts_as_absent(tmp_path: Path, text: str) -> None:
    (tmp_path / ".gx10-manifest.json").write_text(text)
    assert ask("content", {"model": str(tmp_path)}) == {"model": None}


def test_wheels_that_are_missing_or_others_are_told(tmp_path: Path) -> None:
    (tmp_path / "right.whl").write_bytes(b"right")
    (tmp_path / "other.whl").write_bytes(b"other")
    right = hashlib.sha256(b"right").hexdigest()
    required = {"right.whl": right, "other.whl": right, "gone.whl": right, "unpinned.whl": None}
    told = ask("wheels", {"directory": str(tmp_path), "required": required})
    assert sorted(told) == ["gone.whl", "other.whl", "unpinned.whl"]
    assert told["gone.whl"] == "is missing"
    assert f"expected {right}" in str(told["other.whl"])
    (tmp_path / "unpinned.whl").write_bytes(b"right")
    told = ask("wheels", {"directory": str(tmp_path), "required": required})
    assert told["unpinned.whl"] == f"has sha256 {right}, and none is pinned"

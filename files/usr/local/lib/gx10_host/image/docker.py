"""What Docker on this host says of an image; a daemon that does not answer is an error, never an absence."""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import re
import socket
import subprocess
import urllib.parse
from collections.abc import Iterator
from typing import IO, Any

from gx10_host.content.manifest import Wrong

ANSWER_SECONDS = 60
SOCKET = "unix:///var/run/docker.sock"
ABSENT = re.compile(r"^(error( response from daemon)?: )?no such image: ", re.IGNORECASE | re.MULTILINE)


def asked(*argv: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["docker", *argv], capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except FileNotFoundError:
        raise Wrong("There is no docker on this host. Install Docker, then run again.") from None
    except subprocess.TimeoutExpired:
        raise silent(f"nothing came within {ANSWER_SECONDS} s") from None


def silent(told: object) -> Wrong:
    return Wrong(f"Docker does not answer: {told}. See `systemctl status docker` on this host.")


def inspected(reference: str, what: str) -> str:
    """What Docker says of an image, or "" where it has none."""
    done = asked("image", "inspect", "--format", what, reference)
    if done.returncode == 0:
        return done.stdout.strip()
    if ABSENT.search(done.stderr):
        return ""
    raise silent(done.stderr.strip())


def image_layers(reference: str) -> list[str] | None:
    """Digests of an image's layers, uncompressed, lowest first; None where Docker has no such image."""
    told = inspected(reference, "{{json .RootFS.Layers}}")
    return json.loads(told) if told else None


def image_size(reference: str) -> int:
    """Bytes of an image as Docker counts them; 0 where it has none."""
    return int(inspected(reference, "{{.Size}}") or 0)


def docker_root() -> pathlib.Path:
    """The directory that holds Docker's store."""
    done = asked("info", "--format", "{{.DockerRootDir}}")
    if done.returncode or not done.stdout.strip():
        raise silent(done.stderr.strip())
    return pathlib.Path(done.stdout.strip())


class DaemonSocket(http.client.HTTPConnection):
    """The daemon's own API: it answers in milliseconds, where its command first takes 0.1 s to start."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(ANSWER_SECONDS)
        self.sock.connect(os.environ.get("DOCKER_HOST", SOCKET).removeprefix("unix://"))


def told_by_daemon(path: str) -> Any:
    """What the daemon answers to GET, as JSON."""
    daemon = DaemonSocket("docker")
    try:
        # Asked by an older version of the API, Docker 26 breaks off where only the build cache is wanted.
        daemon.request("GET", f"/v1.44{path}")
        answer = daemon.getresponse()
        told = json.loads(answer.read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise silent(error) from None
    finally:
        daemon.close()
    if answer.status != http.HTTPStatus.OK:
        raise silent(told.get("message", answer.status))
    return told


def build_cache() -> list[dict[str, Any]]:
    """Records of the build cache. `docker system df` would measure every image first, which takes seconds."""
    return told_by_daemon("/system/df?type=build-cache").get("BuildCache") or []


def labelled_images(label: str) -> Iterator[dict[str, Any]]:
    """Id, tags and size of every image that has a label."""
    wanted = urllib.parse.quote(json.dumps({"label": [label]}))
    for found in told_by_daemon(f"/images/json?filters={wanted}"):
        tags = [tag for tag in found.get("RepoTags") or [] if tag != "<none>:<none>"]
        yield {"id": found["Id"], "tags": tags, "size": found.get("Size") or 0}


def images_of_containers() -> set[str]:
    """Ids of the images of every container, running or not."""
    return {found["ImageID"] for found in told_by_daemon("/containers/json?all=1")}


def docker_driver() -> str:
    """The store that Docker keeps images in, such as overlay2."""
    done = asked("info", "--format", "{{.Driver}}")
    if done.returncode or not done.stdout.strip():
        raise silent(done.stderr.strip())
    return done.stdout.strip()


def layers_held() -> list[list[str]]:
    """Layers of every image that Docker has, each lowest first; images without a name count as well."""
    done = asked("image", "ls", "--quiet", "--no-trunc")
    if done.returncode:
        raise silent(done.stderr.strip())
    ids = sorted(set(done.stdout.split()))
    if not ids:
        return []
    done = asked("image", "inspect", "--format", "{{json .RootFS.Layers}}", *ids)
    # An image that was removed between the two questions only makes the status 1.
    return [json.loads(line) or [] for line in done.stdout.splitlines() if line.strip()]


def takes_part() -> bool:
    """Whether `docker load` of this daemon takes an image without the layers that it holds, and compressed ones."""
    done = asked("info", "--format", "{{json .DriverStatus}}")
    if done.returncode:
        raise silent(done.stderr.strip())
    return "io.containerd.snapshotter" not in done.stdout


def well() -> bool:
    """Whether the daemon answers, within a bound that is long for a daemon that works."""
    try:
        return asked("info", "--format", "{{.ServerVersion}}").returncode == 0
    except Wrong:
        return False


def containers() -> list[str]:
    """Names of the running containers; their short ids, from their processes, where the daemon does not answer."""
    try:
        done = asked("ps", "--format", "{{.Names}}")
        if done.returncode == 0:
            return done.stdout.split()
    except Wrong:
        pass
    shims = subprocess.run(
        ["pgrep", "--full", "--list-full", "containerd-shim-runc-v2"], capture_output=True, text=True, check=False
    )
    found = [re.search(r" -id ([0-9a-f]{12})", line) for line in shims.stdout.splitlines()]
    return [match.group(1) for match in found if match]


def restart_docker() -> None:
    """Restart the daemon and wait for it."""
    done = subprocess.run(
        ["systemctl", "restart", "docker.service"], capture_output=True, text=True, timeout=180, check=False
    )
    if done.returncode or not well():
        raise silent(f"after a restart: {done.stderr.strip() or 'no answer'}")


def piped(end: IO[bytes] | None) -> IO[bytes]:
    """The end of a pipe to a command that was started with one."""
    if end is None:
        raise ValueError("the command was started without this pipe")
    return end


def heard(said: IO[bytes]) -> str:
    """What a command wrote to a file that was given to it, in one line."""
    said.seek(0)
    return " ".join(said.read(2000).decode(errors="replace").split())

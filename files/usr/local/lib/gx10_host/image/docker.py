"""What Docker on this host says of an image; a daemon that does not answer is an error, never an absence."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
from collections.abc import Sequence
from typing import IO, Any

from gx10_host.content.manifest import Wrong

ANSWER_SECONDS = 60
PROBED_SECONDS = 30
"""How long a probe waits for an answer: whoever asks it waits no longer."""
ABSENT = re.compile(r"^(error( response from daemon)?: )?no such (image|container|object): ", re.IGNORECASE)
"""What the daemon says of a name that it does not have; "no such file" of a missing socket is something else."""


class Silent(Wrong):
    """Docker does not answer, or not what it was asked."""

    def __init__(self, cause: object) -> None:
        super().__init__(f"Docker does not answer: {cause}. See `systemctl status docker` on this host.")
        self.cause = str(cause)


class Absent(Silent):
    """There is no docker to ask."""

    def __init__(self, command: str) -> None:
        cause = "There is no docker on this host"
        Wrong.__init__(self, f"{cause}, and `{command}` tells nothing. Install Docker, then run again.")
        self.cause = cause


def asked(*argv: str, seconds: float = ANSWER_SECONDS) -> subprocess.CompletedProcess[str]:
    """What becomes of a docker command."""
    what = f"docker {' '.join(argv[:2])}"
    try:
        return subprocess.run(["docker", *argv], capture_output=True, text=True, timeout=seconds, check=False)
    except FileNotFoundError:
        raise Absent(what) from None
    except subprocess.TimeoutExpired:
        raise Silent(f"{what}: nothing came within {seconds:g} s") from None
    except OSError as error:
        raise Silent(f"{what}: {error}") from None


def answered(*argv: str, seconds: float = ANSWER_SECONDS) -> str:
    """What a docker command prints; one that fails leaves unknown what it was to tell."""
    done = asked(*argv, seconds=seconds)
    if done.returncode:
        raise Silent(f"docker {' '.join(argv[:2])}: {done.stderr.strip() or f'status {done.returncode}'}")
    return done.stdout


def inspect(kind: str, names: Sequence[str], seconds: float = ANSWER_SECONDS) -> list[dict[str, Any]]:
    """What Docker holds of those images or containers that it has."""
    if not names:
        return []
    done = asked(kind, "inspect", *names, seconds=seconds)
    complaints = [line for line in done.stderr.splitlines() if line.strip() and not ABSENT.match(line)]
    if done.returncode and (complaints or not done.stderr.strip()):
        raise Silent(f"docker {kind} inspect: {' '.join(complaints) or f'status {done.returncode}'}")
    held: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return held


def inspected(reference: str, what: str) -> str:
    """What Docker says of an image, or "" where it has none."""
    done = asked("image", "inspect", "--format", what, reference)
    if done.returncode == 0:
        return done.stdout.strip()
    if any(map(ABSENT.match, done.stderr.splitlines())):
        return ""
    raise Silent(done.stderr.strip())


def image_layers(reference: str) -> list[str] | None:
    """Digests of an image's layers, uncompressed, lowest first; None where Docker has no such image."""
    told = inspected(reference, "{{json .RootFS.Layers}}")
    return json.loads(told) if told else None


def image_size(reference: str) -> int:
    """Bytes of an image as Docker counts them; 0 where it has none."""
    return int(inspected(reference, "{{.Size}}") or 0)


def docker_root() -> pathlib.Path:
    """The directory that holds Docker's store."""
    return pathlib.Path(_of_daemon("DockerRootDir"))


def docker_driver() -> str:
    """The store that Docker keeps images in, such as overlay2."""
    return _of_daemon("Driver")


def _of_daemon(what: str) -> str:
    told = answered("info", "--format", f"{{{{.{what}}}}}").strip()
    if not told:  # An older client says so of a daemon that is gone.
        raise Silent(f"docker info: it tells no {what}")
    return told


def layers_held() -> list[list[str]]:
    """Layers of every image that Docker has, each lowest first; images without a name count as well."""
    ids = sorted(set(answered("image", "ls", "--quiet", "--no-trunc").split()))
    if not ids:
        return []
    done = asked("image", "inspect", "--format", "{{json .RootFS.Layers}}", *ids)
    # An image that was removed between the two questions only makes the status 1.
    return [json.loads(line) or [] for line in done.stdout.splitlines() if line.strip()]


def takes_part() -> bool:
    """Whether `docker load` of this daemon takes an image without the layers that it holds, and compressed ones."""
    return "io.containerd.snapshotter" not in answered("info", "--format", "{{json .DriverStatus}}")


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
        raise Silent(f"after a restart: {done.stderr.strip() or 'no answer'}")


def piped(end: IO[bytes] | None) -> IO[bytes]:
    """The end of a pipe to a command that was started with one."""
    if end is None:
        raise ValueError("the command was started without this pipe")
    return end


def heard(said: IO[bytes]) -> str:
    """What a command wrote to a file that was given to it, in one line."""
    said.seek(0)
    return " ".join(said.read(2000).decode(errors="replace").split())

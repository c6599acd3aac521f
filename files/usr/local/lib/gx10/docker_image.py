"""What Docker on this host says of an image; a daemon that does not answer is an error, never an absence."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess

from manifest import Wrong

ANSWER_SECONDS = 60
ABSENT = re.compile(r"^(error( response from daemon)?: )?no such image: ", re.IGNORECASE | re.MULTILINE)


def asked(*argv):
    try:
        return subprocess.run(["docker", *argv], capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except FileNotFoundError:
        raise Wrong("There is no docker on this host. Install Docker, then run again.") from None
    except subprocess.TimeoutExpired:
        raise silent(f"nothing came within {ANSWER_SECONDS} s") from None


def silent(told):
    return Wrong(f"Docker does not answer: {told}. See `systemctl status docker` on this host.")


def inspected(reference, what):
    """What Docker says of an image, or "" where it has none."""
    done = asked("image", "inspect", "--format", what, reference)
    if done.returncode == 0:
        return done.stdout.strip()
    if ABSENT.search(done.stderr):
        return ""
    raise silent(done.stderr.strip())


def image_layers(reference):
    """Digests of an image's layers, uncompressed, lowest first; None where Docker has no such image."""
    told = inspected(reference, "{{json .RootFS.Layers}}")
    return json.loads(told) if told else None


def image_size(reference):
    """Bytes of an image as Docker counts them; 0 where it has none."""
    return int(inspected(reference, "{{.Size}}") or 0)


def docker_root():
    """The directory that holds Docker's store."""
    done = asked("info", "--format", "{{.DockerRootDir}}")
    if done.returncode or not done.stdout.strip():
        raise silent(done.stderr.strip())
    return pathlib.Path(done.stdout.strip())

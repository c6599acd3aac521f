"""The base image of the lab's engine image: a small Debian, as an archive that `docker load` takes.

No image can be pulled where the lab runs, and a GX10 without Internet is helped the same way: by an archive.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

from gx10.lab.cache import cache_directory, import_directory
from gx10.lab.errors import LabError
from gx10.lab.progress import Progress

from .digests import inputs_digest, sha256_of

SUITE = "bookworm"
"""Its Python is 3.11, for which the wheels are chosen (`download.PYTHON`)."""

PACKAGES = ("git", "patch", "libnuma1", "libgomp1", "procps", "iproute2", "python3", "python3-venv")
"""What the Dockerfile would otherwise ask a mirror for, which a lab host does not reach."""

_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
_EPOCH = 1735689600
"""Timestamp of the image and its files, so that equal packages give equal layers: 2025-01-01."""


def digest() -> str:
    """Names the base by what shapes it, 12 hex digits."""
    return inputs_digest([1, SUITE, PACKAGES, _LEFT_OUT, _EPOCH])[:12]


def reference() -> str:
    """Name and tag under which Docker knows the base."""
    return f"lab-base:{digest()}"


def archive() -> Path:
    """Where the archive lies; the head sees it below /srv/import/base."""
    return import_directory() / "base" / f"lab-base-{digest()}.tar"


def ensure(progress: Progress) -> Path:
    """Build the archive unless it is there; LabError when Debian cannot be had."""
    final = archive()
    if final.exists():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    layer, partial = final.with_suffix(".layer"), final.with_suffix(".partial")
    with progress.step("base image", f"Debian {SUITE} from the mirror (once, about 30 s)"):
        layer.unlink(missing_ok=True)
        _bootstrap(layer)
        _pack(layer, partial)
        layer.unlink()
        partial.rename(final)
    for other in final.parent.glob("lab-base-*.tar"):
        if other != final:
            other.unlink()
    return final


def _bootstrap(layer: Path) -> None:
    """Let mmdebstrap write the file system as one tar from the mirrors that Debian's own defaults name."""
    log = cache_directory() / "base-image.log"
    argv = [
        *("mmdebstrap", "--variant=minbase", "--format=tar", f"--include={','.join(PACKAGES)}"),
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT),
        # dpkg keeps its lists; apt's caches and every log go.
        "--customize-hook=rm -rf $1/var/cache/apt/* $1/var/lib/apt/lists/* $1/var/log/* $1/var/cache/debconf/*-old",
        *(SUITE, str(layer)),
    ]
    with log.open("w") as stream:
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(_EPOCH)}
        done = subprocess.run(
            argv, env=environment, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, check=False
        )
    if done.returncode != 0:
        errors = [line for line in log.read_text().splitlines() if line.startswith(("E:", "W:"))]
        raise LabError(
            f"mmdebstrap could not build the engine image's base (exit status {done.returncode}): "
            f"{' '.join(errors[:3]) or 'no reason given'}. Its log is {log}; check that this machine reaches a Debian "
            "mirror (http://deb.debian.org) and run `gx10 lab up` again."
        )


def _pack(layer: Path, target: Path) -> None:
    """Write the layer with its configuration in the format of `docker save`."""
    layer_digest = sha256_of(layer)
    configuration = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "2025-01-01T00:00:00Z",
            "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["bash"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
        },
        sort_keys=True,
    ).encode()
    name = f"{hashlib.sha256(configuration).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [reference()], "Layers": [f"{layer_digest}/layer.tar"]}]
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as out:
        _add(out, "manifest.json", json.dumps(manifest).encode())
        _add(out, name, configuration)
        out.add(layer, f"{layer_digest}/layer.tar")


def _add(out: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mtime = len(content), _EPOCH
    out.addfile(member, io.BytesIO(content))

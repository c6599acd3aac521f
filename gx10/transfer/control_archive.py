"""The control node's own image archive: kept so that a cluster that lost every copy is served again without a build.

It has the form of the head's (`gx10_host.image.store`) and is proven by the same program. rsync over ssh moves only
what the other side lacks, into partial files that a later run resumes.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from gx10_host import ENTRY
from gx10_host.content.manifest import RECEIVED

from gx10.access.login import project_path, ssh_arguments
from gx10.access.remote import run
from gx10.described.description import Description
from gx10.described.image_inputs import archive_name

TELL_SECONDS = 5
PERCENT = re.compile(rb"([\d,]+)\s+(\d+)%\s+(\S+)\s+(\S+)")
"""Bytes, share, rate and time left in a line of `rsync --info=progress2`."""


class TransferError(Exception):
    """An archive that could not be moved or trusted; a sentence for the operator."""


@dataclass(frozen=True)
class ControlArchive:
    """The archive below a directory of the control node."""

    description: Description
    directory: Path

    @classmethod
    def of(cls, description: Description) -> ControlArchive | None:
        """The archive that the cluster file asks for; None where it asks for none, and for the reconciler's copy of the
        project: the archive is on its owner's node."""
        path = description.cluster.retention.control_archive
        return None if path is None or description.loaded.is_copy else cls(description, project_path(description, path))

    def manifest(self, reference: str) -> dict[str, Any] | None:
        """The manifest of an archived image with all of its files in their sizes, or None."""
        try:
            told: dict[str, Any] = json.loads((self.directory / "images" / archive_name(reference)).read_text())
            whole = all(self._has(entry) for entry in told["files"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return told if whole else None

    def fetch(self, reference: str, tell: Callable[[str], None]) -> None:
        """Keep the head's archive of an image here; raises TransferError."""
        head, name = self.description.cluster.head, archive_name(reference)
        remote = f"{self.description.cluster.paths.archive}/"
        answer = run(self.description, head, ["cat", f"{remote}images/{name}"])
        if not answer.ok:
            raise TransferError(f"{head}: the archive of {reference} cannot be read: {answer.reason}. Deploy again.")
        manifest = json.loads(answer.value)
        for part in ("images", "blobs/sha256"):
            (self.directory / part).mkdir(parents=True, exist_ok=True)
        (self.directory / "images" / (name + RECEIVED)).write_text(answer.value)
        lacking = [entry["path"] for entry in manifest["files"] if not self._has(entry)]
        self._rsync(self._at(head, remote), f"{self.directory}/", lacking, f"{reference} to the control node", tell)
        self.program("archive", "adopt", "--archive", str(self.directory), "--image", name)
        self._collect("used", reference)
        self.clean(reference)

    def send(self, reference: str, tell: Callable[[str], None]) -> None:
        """Put the archive of an image onto the head, what it lacks of it; raises TransferError."""
        head, name = self.description.cluster.head, archive_name(reference)
        manifest = self.manifest(reference)
        if manifest is None:
            raise TransferError(f"The control node has no whole archive of {reference} in {self.directory}.")
        remote = str(self.description.cluster.paths.archive)
        self._on(head, ["mkdir", "-p", f"{remote}/images", f"{remote}/blobs/sha256"])
        staged = self.directory / "images" / (name + RECEIVED)
        staged.write_text(json.dumps(manifest))
        paths = [*(entry["path"] for entry in manifest["files"]), f"images/{name}{RECEIVED}"]
        try:
            self._rsync(f"{self.directory}/", self._at(head, f"{remote}/"), paths, f"{reference} to {head}", tell)
        finally:
            staged.unlink()
        self._on(head, [ENTRY, "archive", "adopt", "--archive", remote, "--image", name], seconds=3600)

    def program(self, verb: str, *words: str) -> str:
        """Have the hosts' own program do something here; its output. Raises TransferError with what it said."""
        path = self.description.project / f"files{ENTRY}"
        done = subprocess.run([sys.executable, path, verb, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise TransferError(f"control node: {done.stderr.strip() or f'{verb} ended with {done.returncode}'}")
        return done.stdout

    def leftovers(self, reference: str) -> list[dict[str, Any]]:
        """What the policy does not keep here."""
        told: list[dict[str, Any]] = json.loads(self._collect("plan", reference))
        return told

    def clean(self, reference: str) -> list[dict[str, Any]]:
        """Remove what the policy does not keep here, each by its name."""
        told: list[dict[str, Any]] = json.loads(self._collect("clean", reference))
        return told

    def _collect(self, command: str, reference: str) -> str:
        with NamedTemporaryFile("w", suffix=".json") as policy:
            json.dump(self._policy(reference), policy)
            policy.flush()
            return self.program("images", command, "--policy", policy.name)

    def _policy(self, reference: str) -> dict[str, object]:
        """What `gx10-host images` is told to keep here."""
        return self.description.image_policy(
            reference,
            archive=str(self.directory),
            builds=str(self.directory / "no-builds-here"),
            used=str(self.directory / "used.json"),
            docker=False,
        )

    def _has(self, entry: dict[str, Any]) -> bool:
        try:
            return bool((self.directory / entry["path"]).lstat().st_size == entry["size"])
        except OSError:
            return False

    def _on(self, host: str, argv: list[str], seconds: float = 60) -> None:
        answer = run(self.description, host, argv, seconds=seconds)
        if not answer.ok:
            raise TransferError(f"{host}: {answer.reason}")

    def _at(self, host: str, path: str) -> str:
        return f"{self.description.cluster.hosts[host].management}:{path}"

    def _rsync(self, source: str, target: str, paths: Iterable[str], what: str, tell: Callable[[str], None]) -> None:
        """Move files by name; an interrupted one is resumed from a directory of partial files."""
        names = "\0".join(paths)
        if not names:
            return
        shell = shlex.join(ssh_arguments(self.description, self.description.cluster.head)[:-1])
        argv = ["rsync", "--archive", "--no-owner", "--no-group", "--files-from=-", "--from0", "--partial-dir=.partial"]
        argv += ["--info=progress2", "--no-inc-recursive", "--timeout=60", f"--rsh={shell}", "--", source, target]
        environment = {**os.environ, "LC_ALL": "C"}
        started = told = time.monotonic()
        last: re.Match[bytes] | None = None
        with subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        ) as moving:
            assert moving.stdin is not None  # noqa: S101 - pipes were asked for
            assert moving.stdout is not None  # noqa: S101
            assert moving.stderr is not None  # noqa: S101
            moving.stdin.write(names.encode())
            moving.stdin.close()
            while block := moving.stdout.read1(65536):  # type: ignore[attr-defined]
                last = [last, *PERCENT.finditer(block)][-1]
                if last and time.monotonic() - told > TELL_SECONDS:
                    told = time.monotonic()
                    _, share, rate, left = (part.decode() for part in last.groups())
                    tell(f"{what}: {_megabytes(last)} MB, {share} %, {rate}, {left} left")
            said = moving.stderr.read().decode(errors="replace").strip()
        if moving.returncode:
            reason = " ".join(said.split()) or f"rsync ended with status {moving.returncode}"
            raise TransferError(f"{what}: {reason}. The next run resumes.")
        if last:
            tell(f"{what}: {_megabytes(last)} MB in {time.monotonic() - started:.1f} s")


def _megabytes(progress: re.Match[bytes]) -> str:
    return f"{int(progress[1].replace(b',', b'')) / 1e6:.0f}"

"""The control node's own image archive: kept so that a cluster that lost every copy is served again without a build.

It has the form of the head's (`gx10_host.image.store`), is completed by the same fetch and proven by the same program.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from gx10_host.content.manifest import Manifest, Wrong, checked, read_manifest
from gx10_host.image.store import described

from gx10.access.login import project_path, ssh_arguments
from gx10.access.remote import run
from gx10.described.description import Description
from gx10.described.host_files import share_urls
from gx10.described.image_inputs import archive_name

from .through_ssh import HERE, Content, Remote, TransferError, receive, send


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

    def manifest(self, reference: str) -> Manifest | None:
        """The manifest of an archived image with all of its files in their sizes, or None."""
        try:
            manifest = read_manifest(self.directory / _kept_as(reference))
        except (OSError, Wrong):
            return None
        return manifest if manifest and all(map(self._has, manifest["files"])) else None

    def fetch(self, reference: str, tell: Callable[[str], None]) -> None:
        """Keep the head's archive of an image here, what is lacking of it; raises TransferError."""
        head, kept_as = self._head, _kept_as(reference)
        answer = run(self.description, head.name, ["cat", f"{self.description.cluster.paths.archive}/{kept_as}"])
        if not answer.ok:
            raise TransferError(
                f"{head.name}: the archive of {reference} cannot be read: {answer.reason}. Deploy again."
            )
        content = Content(_manifest_text(answer.value, f"{kept_as} on {head.name}"), kept_as)
        url = f"{share_urls(self.description.cluster, head.name)[0]}/archive"
        receive(content, url, head, self.directory, tell)
        self._collect("used", reference)
        self.clean(reference)

    def send(self, reference: str, tell: Callable[[str], None]) -> None:
        """Put the archive of an image onto the head, what it lacks of it; raises TransferError."""
        manifest = self.manifest(reference)
        if manifest is None:
            raise TransferError(f"The control node has no whole archive of {reference} in {self.directory}.")
        content = Content(json.dumps(manifest).encode(), _kept_as(reference))
        send(content, self.directory, self._head, str(self.description.cluster.paths.archive), tell)

    @property
    def _head(self) -> Remote:
        head = self.description.cluster.head
        return Remote(head, ssh_arguments(self.description, head))

    def program(self, verb: str, *words: str) -> str:
        """Have the hosts' own program do something here; its output. Raises TransferError with what it said."""
        done = subprocess.run([*HERE, verb, *words], capture_output=True, text=True, check=False)
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


def _kept_as(reference: str) -> str:
    """The file of an archive that names an image's files."""
    return f"images/{archive_name(reference)}"


def _manifest_text(text: str, origin: str) -> bytes:
    """A host's manifest of an image, once it is seen to be one."""
    try:
        described(checked(json.loads(text), origin), origin)
    except (ValueError, Wrong) as error:
        raise TransferError(f"{origin} is no manifest of an image: {error}") from error
    return text.encode()

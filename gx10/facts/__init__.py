"""What a host is now: one batched question per concern.

pyinfra runs a fact each time it is asked, and each remote command costs two round trips and a shell: so each
concern is one Python program that answers everything about it as JSON.
"""

from __future__ import annotations

import json
from typing import Any

from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

from gx10.probes import probe_command


class Probe(FactBase[dict[str, Any]]):
    """A fact answered as JSON by a probe."""

    def process(self, output: list[str]) -> dict[str, Any]:
        """The probe's answer; anything else on its output is an error, never an empty answer."""
        try:
            answer = json.loads("\n".join(output))
        except ValueError as error:
            raise FactProcessError(f"{self.name}: the probe answered {output!r}, which is no JSON") from error
        if not isinstance(answer, dict):
            raise FactProcessError(f"{self.name}: the probe answered {answer!r}, not an object")
        return answer


class FileStates(Probe):
    """State of some paths: None where nothing stands, else kind, mode, user, group and sha256 of a file."""

    def command(self, paths: list[str], blocks: dict[str, tuple[str, str]] | None = None) -> str:
        """Ask about `paths`, and for the lines that stand between two marks in the files of `blocks`."""
        return probe_command("files", {"paths": paths, "blocks": blocks or {}})


class HostOffer(Probe):
    """Architecture, memory, free space, addresses and the Docker daemon of a host."""

    def command(self, paths: list[str], commands: list[str]) -> str:
        """Ask for free bytes below `paths` and for the presence of `commands`."""
        return probe_command("host", {"paths": paths, "commands": commands})


class SystemState(Probe):
    """Live sysctls, packages, groups, units and the default target."""

    def command(
        self,
        sysctls: list[str] | None = None,
        packages: list[str] | None = None,
        groups: list[str] | None = None,
        units: list[str] | None = None,
    ) -> str:
        """Ask for those that are named; the default target is always told."""
        asked = {"sysctls": sysctls, "packages": packages, "groups": groups, "units": units}
        return probe_command("system", {key: value or [] for key, value in asked.items()})


class DockerState(Probe):
    """Images by reference and containers by name; None for those that do not exist."""

    def command(self, images: list[str] | None = None, containers: list[str] | None = None) -> str:
        """Ask about images and containers."""
        return probe_command("docker", {"images": images or [], "containers": containers or []})


class StoredContent(Probe):
    """Manifests of an archived image and of a model directory, and which of their files are not proven."""

    def command(self, archive: str = "", image: str = "", model: str = "") -> str:
        """Ask about an image's manifest in an archive and about a model directory."""
        return probe_command("content", {"archive": archive, "image": image, "model": model})


class WheelFaults(Probe):
    """Required wheels that are missing or have another hash: file name to what is wrong."""

    def command(self, directory: str, required: dict[str, str | None]) -> str:
        """Ask about files of `directory`: name to expected sha256, or None where no hash is known."""
        return probe_command("wheels", {"directory": directory, "required": required})

"""What a host is now: one batched question per concern.

pyinfra runs a fact each time it is asked, and each remote command costs two round trips and a shell: so each
concern is one Python program that answers everything about it as JSON.
"""

from __future__ import annotations

import json
import shlex
import time
from typing import Any, ClassVar

from gx10_host import ENTRY
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

from gx10.probes import probe_command, survey_words


def stamped(answer: Any) -> Any:  # noqa: ANN401 - JSON
    """An answer that tells a clock, with this node's of the moment in which it came to compare it with."""
    return {**answer, "received": time.time()} if isinstance(answer, dict) and "clock" in answer else answer


class Probe(FactBase[dict[str, Any]]):
    """A fact answered as JSON by a probe."""

    probe: ClassVar[str]
    """Name of the probe: its module in `gx10_host.probes`."""

    def process(self, output: list[str]) -> dict[str, Any]:
        """The probe's answer; anything else on its output is an error, never an empty answer."""
        try:
            answer = json.loads("\n".join(output))
        except ValueError as error:
            raise FactProcessError(f"{self.name}: the probe answered {output!r}, which is no JSON") from error
        if not isinstance(answer, dict):
            raise FactProcessError(f"{self.name}: the probe answered {answer!r}, not an object")
        told: dict[str, Any] = stamped(answer)
        return told


class Survey(FactBase[list[dict[str, Any] | None]]):
    """Answers to many questions from one command, in their order; None where a probe failed, less where all ended."""

    def command(self, questions: list[tuple[str, dict[str, Any]]]) -> str:
        """Ask several probes."""
        return f"{shlex.join(survey_words(questions))} 2>/dev/null || true"

    def process(self, output: list[str]) -> list[dict[str, Any] | None]:
        """One answer a line."""
        try:
            return [stamped(json.loads(line)) for line in output]
        except ValueError as error:
            raise FactProcessError(f"{self.name}: the probes answered {output!r}, which is no JSON") from error


class FileStates(Probe):
    """State of some paths: None where nothing stands, else kind, mode, user, group and sha256 of a file."""

    probe = "files"

    def command(self, paths: list[str], blocks: dict[str, tuple[str, str]] | None = None) -> str:
        """Ask about `paths`, and for the lines that stand between two marks in the files of `blocks`."""
        return probe_command(self.probe, {"paths": paths, "blocks": blocks or {}})


class HostOffer(Probe):
    """Architecture, memory, free space, addresses and the Docker daemon of a host."""

    probe = "host"

    def command(self, paths: list[str], commands: list[str]) -> str:
        """Ask for free bytes below `paths` and for the presence of `commands`."""
        return probe_command(self.probe, {"paths": paths, "commands": commands})


class SystemState(Probe):
    """Live sysctls, packages, groups, units and the default target."""

    probe = "system"

    def command(
        self,
        sysctls: list[str] | None = None,
        packages: list[str] | None = None,
        groups: list[str] | None = None,
        units: list[str] | None = None,
    ) -> str:
        """Ask for those that are named; the default target is always told."""
        asked = {"sysctls": sysctls, "packages": packages, "groups": groups, "units": units}
        return probe_command(self.probe, {key: value or [] for key, value in asked.items()})


class DockerState(Probe):
    """Images by reference and containers by name; None for those that do not exist."""

    probe = "docker"

    def command(self, images: list[str] | None = None, containers: list[str] | None = None) -> str:
        """Ask about images and containers."""
        return probe_command(self.probe, {"images": images or [], "containers": containers or []})


class StoredContent(Probe):
    """Manifests of an archived image and of a model directory, and which of their files are not proven."""

    probe = "content"

    def command(
        self,
        *,
        archive: str = "",
        image: str = "",
        model: str = "",
        root: str = "",
        cache: str = "",
        source: str = "",
        secret: str = "",
    ) -> str:
        """Ask about an image's manifest in an archive, a model directory with the room for it, and a secret's mode."""
        asked = {"archive": archive, "image": image, "model": model, "root": root, "cache": cache, "source": source}
        return probe_command(self.probe, {**asked, "secret": secret})


class ModelRoot(Probe):
    """What lies in the model root and what of it may go; empty before the host has the program that looks."""

    probe = "partition"

    def command(self, policy: str) -> str:
        """Ask the host's own program, with the policy on its standard input."""
        return f"if [ -x {ENTRY} ]; then printf %s {shlex.quote(policy)} | {ENTRY} weights plan; else echo '{{}}'; fi"


class ImageLeftovers(Probe):
    """Images that the host was told to use, the last one first, and what of earlier ones the policy does not keep."""

    probe = "leftovers"

    def command(self, policy: dict[str, object]) -> str:
        """Ask by a policy as `gx10-host images` reads it."""
        return probe_command(self.probe, {"policy": policy})


class WheelFaults(Probe):
    """Required wheels that are missing or have another hash: file name to what is wrong."""

    probe = "wheels"

    def command(self, directory: str, required: dict[str, str | None]) -> str:
        """Ask about files of `directory`: name to expected sha256, or None where no hash is known."""
        return probe_command(self.probe, {"directory": directory, "required": required})


class WatchState(Probe):
    """The reconciler's user, key, project and environment on a host, and whether its key may log in."""

    probe = "watch"

    def command(  # noqa: PLR0917 - pyinfra gives them by name
        self, user: str, key: str, login: str, comment: str, environment: str, project: str, restored: str
    ) -> str:
        """Ask about the reconciler; `environment`, `project` and `restored` are empty where it does not run."""
        asked = {"user": user, "key": key, "login": login, "comment": comment}
        here = {"environment": environment, "project": project, "restored": restored}
        return probe_command(self.probe, {**asked, **here})


class LiveState(Probe):
    """What runs, beside the files: firewall rules, deleted executables, other people's files and containers, clock."""

    probe = "live"

    def command(  # noqa: PLR0917 - pyinfra gives them by name
        self,
        nft: dict[str, str] | None = None,
        containers: list[str] | None = None,
        services: list[str] | None = None,
        owned: list[str] | None = None,
        units: list[str] | None = None,
        unit_path: list[str] | None = None,
        calendars: dict[str, str] | None = None,
        daemon: str = "",
        daemon_files: list[str] | None = None,
        record: str = "",
        free: list[str] | None = None,
    ) -> str:
        """Ask what `gx10.described.live.live_question` spells."""
        lists = {"containers": containers, "services": services, "owned": owned, "units": units, "free": free}
        lists |= {"unit_path": unit_path, "daemon_files": daemon_files}
        asked: dict[str, Any] = {key: value or [] for key, value in lists.items()}
        asked |= {"calendars": calendars or {}, "daemon": daemon, "record": record}
        return probe_command(self.probe, asked | ({"nft": nft} if nft else {}))


class FilterState(Probe):
    """Rules of packet filters that stop what the gang needs."""

    probe = "filters"

    def command(self, own: str, flows: str) -> str:
        """Ask about flows as `gx10.described.live.filter_question` spells them; the rules of `own` are left out."""
        return probe_command(self.probe, {"own": own, "flows": flows})


class RoleRemains(Probe):
    """What stands on a host of some units, files, directories and a user, as far as it is this package's."""

    probe = "remains"

    def command(  # noqa: PLR0917 - pyinfra gives them by name
        self,
        units: list[str],
        files: list[str],
        families: dict[str, dict[str, object]],
        trees: list[str],
        directories: list[str],
        user: str,
        home: str,
        ours: str,
    ) -> str:
        """Ask by what `gx10.described.roles` lists."""
        asked = {"units": units, "files": files, "families": families, "trees": trees, "directories": directories}
        return probe_command(self.probe, {**asked, "user": user, "home": home, "ours": ours})


class Kept(Probe):
    """JSON files that this package keeps on a host; None for one that is not there."""

    probe = "reach"

    def command(self, read: dict[str, str]) -> str:
        """Read files by a name for each."""
        return probe_command(self.probe, {"read": read})


class ReconcilerWheels(Probe):
    """Whether the reconciler's environment is installed, and if it is not, the wheels that it can be made of."""

    probe = "reconciler_wheels"

    def command(self, directory: str, environment: str, lock: str) -> str:
        """Ask about the environment made from the lock with this digest."""
        return probe_command(self.probe, {"directory": directory, "environment": environment, "lock": lock})


class ModelShape(Probe):
    """Attention heads and layers of a model, by the configuration in the first of some directories that has one."""

    probe = "model_shape"

    def command(self, directories: list[str]) -> str:
        """Ask about directories."""
        return probe_command(self.probe, {"directories": directories})

"""Weights: fetched once, then the same on every host, each file proven against the manifest.

In one file because each step asks the same `Weights` who holds what, and they are one screen each.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gx10_host import ENTRY
from gx10_host.content.manifest import MANIFEST
from pyinfra import host, logger
from pyinfra.api.command import PyinfraCommand, QuoteString

from gx10.described.host_files import PROGRAMS
from gx10.drift.classes import Drift
from gx10.facts import ModelRoot, StoredContent
from gx10.transfer.control_weights import send_weights
from gx10.transfer.through_ssh import Remote
from gx10.weights.holders import Holding, Stored, holding
from gx10.weights.manifests import Manifests, bytes_in
from gx10.weights.room import GIB, Room, refusal, table

from .image import CONTENT_PROGRAM
from .loop.asking import ask
from .loop.commands import Commands, ControlWork, Narrated, Recorded, Refusal, elsewhere, refuse
from .loop.declared import drifted, operation

PARTITION_PROGRAM = (ENTRY, "weights")
TOKEN = "/run/secrets/hub-token"  # noqa: S105 - where the token's file is mounted, not a token


@dataclass(frozen=True)
class Hub:
    """A repository of a hub, and the container that fetches it."""

    repository: str
    revision: str | None
    image: str
    token_file: str | None = None
    endpoint: str | None = None

    @property
    def source(self) -> dict[str, str]:
        """What a manifest says of its origin."""
        return {"hub": self.repository, "revision": self.revision or ""}


@dataclass(frozen=True)
class Weights:
    """The weights of one model on the hosts of a cluster."""

    directory: str
    title: str
    root: str
    """The model root, which every host's share shows under `models`."""
    keeper: str
    """The host that has them first."""
    hosts: tuple[str, ...]
    shares: Mapping[str, Sequence[str]]
    """URLs of each host's share, one for each fabric address."""
    recorded: Manifests
    """Manifests that the control node keeps."""
    policy: Mapping[str, Any]
    min_free_gib: float
    source: str | None = None
    """A directory on the keeper."""
    control: str | None = None
    """A directory on the control node."""
    hub: Hub | None = None
    cache: str = ""
    """ORG/NAME of the hub cache that may hold them already."""
    record: str = ""
    """File on each host that keeps what its transfers came to."""
    ssh: Mapping[str, Sequence[str]] | None = None
    """The command that logs in to each host, for what comes from the control node."""

    @property
    def others(self) -> tuple[str, ...]:
        """Hosts that get them from the keeper, or from any other that is proven."""
        return tuple(name for name in self.hosts if name != self.keeper)

    @property
    def below(self) -> str:
        """The directory below the model root."""
        return self.directory.removeprefix(self.root).strip("/")

    @property
    def question(self) -> dict[str, Any]:
        """What the probe is asked."""
        return {"model": self.directory, "root": self.root, "cache": self.cache, "source": self.source or ""}

    def told(self, on: str) -> dict[str, Any]:
        """What a host knows of them."""
        return ask(StoredContent, on, **self.question)

    def stored(self, on: str) -> Stored | None:
        """The manifest on a host, and what of it is proven."""
        return Stored.of(self.told(on)["model"])

    @property
    def pinned(self) -> dict[str, str] | None:
        """Repository and revision that the recipe pins; None where it pins none."""
        return self.hub.source if self.hub and self.hub.revision else None

    def holding(self) -> Holding:
        """Which weights are right, and who holds them."""
        stored = {name: self.stored(name) for name in self.hosts}
        return holding(stored, self.keeper, self.recorded.digest(self.below), self.pinned)

    def coming(self) -> str | None:
        """Digest of the manifest that the deploy leads to; None where only the source can tell.

        What no host holds comes from its source, which gave what was recorded, unless another revision is pinned now.
        """
        held = self.holding()
        if held.proven:
            return held.digest
        known = self.pinned is None or self.recorded.source(self.below) == self.pinned
        return self.recorded.digest(self.below) if known else None

    def rooms(self) -> list[Room]:
        """Disk arithmetic of every host; hosts that lack room are asked what may go."""
        held = self.holding()
        rooms = []
        for name in self.hosts:
            told = self.told(name)
            need = 0 if held.complete(name) else self._need(told, held)
            room = Room(name, need, told["free"], round(self.min_free_gib * GIB), 0)
            if room.to_free:
                partition = ask(ModelRoot, name, policy=json.dumps(self.policy, sort_keys=True))
                freeable = sum(item["bytes"] for item in partition.get("items", ()))
                room = Room(name, need, room.have, room.reserve, freeable)
            rooms.append(room)
        return rooms

    def _need(self, told: dict[str, Any], held: Holding) -> int:
        ours = Stored.of(told["model"])
        if ours is not None and (held.digest is None or ours.digest == held.digest):
            return ours.missing_bytes
        size = held.bytes or self._size_at_source()
        return max(0, size - int(told["present"]) - int(told["cached"]))

    def _size_at_source(self) -> int:
        """Bytes at the source, where that can be told without asking a hub."""
        if self.source:
            found: int | None = self.told(self.keeper)["source_bytes"]
            return found or 0
        return bytes_in(self.control) if self.control else 0


def stored_model(directory: str, on: str | None = None) -> dict[str, Any] | None:
    """What a host knows of a model directory: its manifest's digest and the files that are not proven."""
    told: dict[str, Any] | None = ask(StoredContent, on, model=directory)["model"]
    return told


def _weights_drifted(weights: Weights, stored: Stored | None, held: Holding) -> bool:
    """Note weights that are absent, others than those that shall stand, or not proven file by file."""
    if stored is None:
        return drifted(weights.title, "absent", (held.digest or "in place")[:12])
    if held.digest and stored.digest != held.digest:
        return drifted(weights.title, stored.digest[:12], held.digest[:12])
    if stored.proven:  # Of another revision of the hub than the pinned one.
        return drifted(weights.title, stored.digest[:12], "the pinned revision")
    acted_on = [
        path for path in stored.unproven if drifted(f"{weights.title}/{path}", "not proven", "as in the manifest")
    ]
    return bool(acted_on)


@operation(drift=Drift.REPORT)
def weights_fit(weights: Weights) -> Commands:
    """Hold what is to come against the room on every host, before a byte moves; refuse where it cannot fit."""
    if elsewhere([weights.keeper]):
        return
    rooms = weights.rooms()
    if reasons := refusal(weights.title, weights.root, rooms):
        yield from refuse(*reasons)
        return
    for line in table(rooms) if any(room.need for room in rooms) else ():
        logger.info(f"{host.print_prefix}{line}")
    host.noop("the weights fit on every host")


@operation(drift=Drift.HEAL)
def models_cleaned(weights: Weights) -> Commands:
    """Remove what the policy allows, where the weights need the room and only as much as they need."""
    room = next(each for each in weights.rooms() if each.host == host.name)
    if not room.to_free:
        host.noop("nothing needs to go")
        return
    if not drifted(
        weights.root, f"{room.have / GIB:.1f} GiB free", f"{room.wanted_free / GIB:.1f} GiB for the weights"
    ):
        return
    yield Narrated(
        *PARTITION_PROGRAM, "clean", "--need", str(room.wanted_free), _stdin=json.dumps(weights.policy, sort_keys=True)
    )


@operation(drift=Drift.HEAL, artifact=True)
def weights_staged(weights: Weights) -> Commands:
    """Have the weights on the keeper with a manifest: proven as they are, from a peer that is, or from their source.

    Without a source the weights must be in place already, and get their manifest there.
    """
    if elsewhere([weights.keeper]):
        return
    held, stored = weights.holding(), weights.stored(weights.keeper)
    if held.complete(weights.keeper):
        host.noop(f"{weights.title} is in place: {stored.files if stored else 0} files")
        return
    if not _weights_drifted(weights, stored, held):
        return
    if held.proven:
        yield _fetch(weights, held, weights.keeper)
    elif weights.hub:
        if refused := _token_fault(weights.hub):
            yield from refuse(refused)
            return
        yield _fetch_from_hub(weights, weights.hub)
    elif weights.control and not weights.recorded.kept_here:
        yield Refusal(
            f"{host.name}: no host holds {weights.title} whole, and its source {weights.control} is a directory of the "
            "node that you deploy from. Deploy there."
        )
    elif weights.control:
        yield _sent(weights, weights.control)
    else:
        source = weights.source or weights.directory
        words = [*CONTENT_PROGRAM, "stage", "--source", source, "--to", weights.directory, "--name", weights.title]
        yield Narrated(*(QuoteString(word) for word in words))


@operation(drift=Drift.HEAL, artifact=True)
def weights_received(weights: Weights) -> Commands:
    """Have the same weights on every other host, each absent or unproven file fetched over the fabric."""
    if elsewhere(weights.others):
        return
    held, stored = weights.holding(), weights.stored(host.name)
    if held.complete(host.name):
        host.noop(f"{weights.title} is in place: {stored.files if stored else 0} files")
        return
    if not _weights_drifted(weights, stored, held):
        return
    if not held.proven and host.state.is_executing:
        yield from refuse(f"no host has {weights.title} to send. Look at what {weights.keeper} reported.")
        return
    yield _fetch(weights, held, host.name)


@operation(drift=Drift.HEAL)
def manifest_recorded(weights: Weights) -> Commands:
    """Keep the manifest on the control node: it decides when a host's files and manifest disagree."""
    if elsewhere([weights.keeper]):
        return
    if not weights.recorded.kept_here:
        host.noop("manifests are kept where the owner deploys from")
        return
    recorded = weights.recorded.digest(weights.below)
    if recorded is not None and recorded == weights.coming():
        host.noop("the control node has the manifest")
        return
    if not drifted(f"manifest of {weights.title} on the control node", "another or none", "the hosts'"):
        return
    yield Recorded(f"{weights.directory}/{MANIFEST}", weights.recorded, weights.below)


def _fetch(weights: Weights, held: Holding, to: str) -> PyinfraCommand:
    """Complete a host's weights from whoever is proven, over every fabric address that they have."""
    senders = held.senders(to) or (weights.keeper,)
    urls = [f"{url}/models/{weights.below}" for name in senders for url in weights.shares[name]]
    words = [*CONTENT_PROGRAM, "fetch", *(word for url in urls for word in ("--url", url))]
    words += ["--manifest", MANIFEST, "--to", weights.directory, "--reuse", weights.root]
    words += ["--expect", held.digest] if held.digest else []
    words += ["--record", weights.record] if weights.record else []
    return Narrated(*(QuoteString(word) for word in words))


def _sent(weights: Weights, source: str) -> PyinfraCommand:
    """Complete the keeper's weights from a directory of this node."""
    keeper = Remote(weights.keeper, (weights.ssh or {})[weights.keeper])
    kept = weights.recorded.path(weights.below).with_suffix(".source.json")

    def send(tell: Callable[[str], None]) -> None:
        send_weights(Path(source), weights.title, keeper, weights.directory, kept=kept, tell=tell)

    return ControlWork(f"Send {source} to {weights.keeper}", send)


def _token_fault(hub: Hub) -> str:
    """Why the token's file may not be used."""
    if not hub.token_file or not host.state.is_executing:
        return ""
    told = ask(StoredContent, secret=hub.token_file)["secret"]
    if told is None:
        return f"models.hub_token_file {hub.token_file} does not exist. Write the token there, readable by root alone."
    if told not in {"600", "400"}:
        return f"{hub.token_file} has mode {told}, so others may read the token. Run `chmod 600 {hub.token_file}`."
    return ""


def _fetch_from_hub(weights: Weights, hub: Hub) -> PyinfraCommand:
    """Fetch by the library in the engine's image; the token's file is mounted, and no word of it is said."""
    options = [
        "--rm", "--network", "host", "--entrypoint", "python3", "--cap-drop", "ALL", "--cap-add", "DAC_OVERRIDE",
        "--cap-add", "FOWNER", "--security-opt", "no-new-privileges", "--log-driver", "none",
        "--volume", f"{weights.root}:{weights.root}", "--volume", f"{ENTRY}:{ENTRY}:ro",
        "--volume", f"/{PROGRAMS}:/{PROGRAMS}:ro",
        "--env", "HF_HUB_OFFLINE=0", "--env", "HF_HUB_DISABLE_TELEMETRY=1", "--env", "HF_HUB_DISABLE_PROGRESS_BARS=1",
        "--env", "HF_HUB_DISABLE_IMPLICIT_TOKEN=0", "--env", "PYTHONDONTWRITEBYTECODE=1",
        "--env", "PYTHONPYCACHEPREFIX=/dev/null",
    ]  # fmt: skip
    if hub.token_file:
        options += ["--volume", f"{hub.token_file}:{TOKEN}:ro", "--env", f"HF_TOKEN_PATH={TOKEN}"]
    if hub.endpoint:
        options += ["--env", f"HF_ENDPOINT={hub.endpoint}"]
    words = ["docker", "run", *options, hub.image, ENTRY, "hub", "--repository", hub.repository]
    words += ["--revision", hub.revision or "", "--to", weights.directory, "--name", weights.title]
    return Narrated(*(QuoteString(word) for word in [*words, "--reuse", weights.root]))

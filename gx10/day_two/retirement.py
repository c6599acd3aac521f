"""Retiring a host: what stands there is asked, shown, and removed step by step; what is left in the end is told.

It needs nothing of the host but Python and the login that deployed to it. Each step can be repeated: a retirement that
is interrupted goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from pathlib import PurePosixPath
from typing import Any

from gx10.access.login import project_path
from gx10.access.remote import Answer, ask, run
from gx10.described.authorized import settled
from gx10.described.description import Description
from gx10.described.entries import File
from gx10.described.gang_files import GANG_UNIT
from gx10.described.host_files import FIREWALL_UNIT
from gx10.described.members import Member, Members, members_file
from gx10.described.retirement import RUN, SYSCTLS, TABLE, beside, everything, models_policy
from gx10.operations.files import marks, put_entries
from gx10.probes import probe_words, probes_words, program_words, writer_words
from gx10.settings.cluster import Host
from gx10.weights.manifests import Manifests

HOSTS_FILE, TITLE = "/etc/hosts", "gx10"
ASK_SECONDS, STEP_SECONDS = 150, 1800
"""A supervisor drains, and weights of hundreds of gigabytes go."""
NOTHING: dict[str, Any] = {
    "units": {}, "files": [], "trees": [], "directories": [], "user": "", "home": "", "others": {},
}  # fmt: skip

Say = Callable[[str], None]


class RetireError(Exception):
    """A host cannot be retired, or not now; a sentence says why."""


@dataclass(frozen=True)
class Target:
    """A host that shall be retired."""

    name: str
    member: Member
    former: tuple[str, ...] = ()
    """Programs of earlier versions that may stand there."""

    def within(self, description: Description) -> Description:
        """The description as if it held this host, for whoever logs in to it."""
        cluster = description.cluster
        host = Host(management=IPv4Address(self.member.management), fabric=(IPv4Address(self.member.management),))
        hosts = {**cluster.hosts, self.name: host}
        loaded = replace(description.loaded, cluster=cluster.model_copy(update={"hosts": hosts}))
        return replace(description, checked=replace(description.checked, loaded=loaded))


@dataclass(frozen=True)
class Standing:
    """What stands on a host."""

    remains: Mapping[str, Any] = field(default_factory=lambda: dict(NOTHING))
    beside: Mapping[str, Any] = field(default_factory=dict)

    @property
    def keys(self) -> tuple[str, ...]:
        """Lines of authorized_keys that are a reconciler's."""
        return settled(self.beside["authorized"], None).removed

    @property
    def names(self) -> bool:
        """Whether the hosts file holds this package's lines."""
        return any(mark in self.beside["hosts"] for mark in marks(TITLE))

    def rows(self, *, weights: bool) -> list[tuple[str, str, int | None]]:
        """What would go: kind, name, and bytes where they count."""
        told, there = self.remains, self.beside
        archive = there["archive"]
        blobs = [path for path in told["files"] if "/blobs/sha256/" in path]
        rows: list[tuple[str, str, int | None]] = [
            *(("unit", f"{name} ({state['active'] or 'absent'})", None) for name, state in told["units"].items()),
            *(("container", name, None) for name in there["containers"]),
            *(("image", name, size) for name, size in there["images"].items()),
            *([("archive", f"{len(blobs)} files of images", archive["bytes"])] if blobs else []),
            *([("weights", name, size) for name, size in there["models"].items()] if weights else []),
            *(("file", path, None) for path in told["files"] if path not in blobs),
            *(("directory", path, None) for path in [*told["trees"], *([told["home"]] if told["home"] else [])]),
            *(("directory, when empty", path, None) for path in told["directories"]),
            *([("user", told["user"], None)] if told["user"] else []),
            *(("key in authorized_keys", line.rpartition(" ")[2], None) for line in self.keys),
            *([("lines of the cluster", HOSTS_FILE, None)] if self.names else []),
            *([("firewall", f"table {TABLE}", None)] if there["table"] else []),
        ]
        return rows

    def stays(self, *, weights: bool) -> list[str]:
        """What is there and is left, in sentences."""
        models = self.beside["models"]
        told = [f"{name} {why}: it stays" for name, why in self.remains["others"].items()]
        if models and not weights:
            size = sum(models.values()) / 1e9
            told.append(f"{len(models)} models stay, {size:.2f} GB: `--weights` removes {', '.join(models)}")
        if SYSCTLS in self.remains["files"]:
            told.append(f"the kernel parameters of {SYSCTLS} keep their values until the host boots")
        return told


def partition_words(*arguments: str) -> list[str]:
    """The command that looks at a model root or removes from it, on a host that may not have the program any more."""
    return program_words("weights.remove", *arguments)


def known_members(description: Description) -> Members:
    """The record of the cluster's hosts, as any described host that answers keeps it. Raises RetireError."""
    words = probes_words(("reach", {"read": {"hosts": members_file(description)}}))
    answers = ask(description, lambda _: words, description.cluster.hosts)
    records = [answer.value[0]["read"]["hosts"] for answer in answers.values() if answer.ok]
    if not records:
        silent = next(iter(answers.values()))
        raise RetireError(
            f"no described host answers, {silent.host} among them: {silent.reason}. `gx10 status` says more."
        )
    return Members.newest(records)


def standing(description: Description, target: Target) -> Standing:
    """What stands on a host; raises RetireError where it cannot be told."""
    asked = everything(description, target.member, target.former).question()
    words = probes_words(("remains", asked), ("retirement", beside(description, target.member)))
    answer = ask(target.within(description), lambda _: words, [target.name], ASK_SECONDS)[target.name]
    if not answer.ok:
        raise RetireError(f"{target.name} ({target.member.management}) cannot be asked: {answer.reason}")
    remains, there = answer.value
    return Standing(remains, {**there, "models": _models(description, target) if there["model_root"] else {}})


def _models(description: Description, target: Target) -> dict[str, int]:
    """Models that a manifest stands in, with their bytes, by the rules of the clean-up."""
    policy = json.dumps(models_policy(target.member))
    answer = run(target.within(description), target.name, partition_words("plan"), STEP_SECONDS, policy)
    if not answer.ok:
        raise RetireError(f"{target.name}: the weights cannot be judged: {answer.reason}")
    return {model["path"]: model["bytes"] for model in json.loads(answer.value)["models"]}


def refusal(description: Description, target: Target, found: Standing) -> str:
    """Why a host that is not described may not be retired now; nothing when it may."""
    if found.beside["engine"] in ("active", "activating"):
        return (
            f"{target.name} runs the engine: it is the head of what serves there. Deploy, so that the described head "
            f"takes over, or stop it there first: `ssh {target.member.management} systemctl stop {GANG_UNIT}`."
        )
    head = description.cluster.head
    answer = ask(description, lambda _: probe_words("serving", {"url": ""}), [head])[head]
    if not answer.ok:
        if found.beside["ranks"]:
            return (
                f"{target.name} runs a rank, and the head {head} does not say whose: {answer.reason}. "
                "Bring the head up first."
            )
        return ""
    if target.name in ((answer.value[0]["gang"] or {}).get("hosts") or {}):
        return f"the gang of {head} still serves with {target.name}: deploy the description without it first."
    return ""


def retire(description: Description, target: Target, found: Standing, *, weights: bool, say: Say) -> Standing:
    """Remove what stands on a host; returns what is left. Raises RetireError where a step fails."""
    host = target.within(description)
    told, there = found.remains, found.beside

    def step(what: str, words: list[str], stdin: object = None) -> None:
        say(f"{target.name}: {what}")
        answer = run(host, target.name, words, STEP_SECONDS, None if stdin is None else json.dumps(stdin))
        if not answer.ok:
            raise RetireError(
                f"{target.name}: {what} failed: {answer.reason}. Mend that and run the same command again."
            )

    serving = {name: state for name, state in told["units"].items() if name != FIREWALL_UNIT}
    if serving:
        ends = "its rank ends, " if there["ranks"] else ""
        step(f"{ends}{len(serving)} units stop and go", writer_words("away"), {**NOTHING, "units": serving})
    for container in there["containers"]:
        step(f"container {container} goes", ["docker", "rm", "--force", "--", container])
    for image in there["images"]:
        step(f"image {image} goes", ["docker", "image", "rm", "--", image])
    if weights and there["models"]:
        _remove_weights(host, target, tuple(there["models"]), step)
    if found.keys:
        asked = {"login": description.cluster.access.user, "remove": list(found.keys), "add": None}
        step(f"{len(found.keys)} keys of a reconciler go", writer_words("key"), asked)
    if found.names:
        block = {"path": HOSTS_FILE, "marks": marks(TITLE), "lines": None}
        step(f"the cluster's lines in {HOSTS_FILE} go", writer_words("block"), block)
    # Its ports are closed for as long as something could listen there.
    if FIREWALL_UNIT in told["units"]:
        firewall = {FIREWALL_UNIT: told["units"][FIREWALL_UNIT]}
        step("the firewall's unit goes", writer_words("away"), {**NOTHING, "units": firewall})
    if standing(description, target).beside["table"]:
        step(f"table {TABLE} goes", ["nft", "delete", "table", *TABLE.split()])
    # Asked anew: directories that are empty by now go as well.
    rest = standing(description, target).remains
    files = len(rest["files"])
    step(f"{files} files and what is empty without them go", writer_words("away"), {**rest, "units": {}})
    return standing(description, target)


def forget_runtime(description: Description, target: Target) -> Answer:
    """Remove what is kept until the next boot, the lock of a head among it: last, when nobody holds that any more."""
    asked = json.dumps({**NOTHING, "trees": [RUN]})
    return run(target.within(description), target.name, writer_words("away"), stdin=asked)


def record(description: Description, members: Members, say: Say) -> None:
    """Keep a record on every described host that answers; of two, the newer counts."""
    entry = put_entries([File(members_file(description), members.text())])
    for name in description.cluster.hosts:
        answer = run(description, name, writer_words("put"), stdin=entry)
        if not answer.ok:
            say(f"{name}: the record of the cluster's hosts was not renewed: {answer.reason}. The next deploy does it.")


def kept_here(description: Description) -> list[str]:
    """What this node keeps of the cluster, in sentences: it is not removed."""
    archive = description.cluster.retention.control_archive
    places = [Manifests.of(description.project, description.cluster.name).directory]
    if archive:
        places.append(project_path(description, archive))
    return [f"this node keeps {place}" for place in places if place.exists()]


def _remove_weights(host: Description, target: Target, named: tuple[str, ...], step: Callable[..., None]) -> None:
    """Remove model directories by the clean-up's own program and fences, exactly those that were shown."""
    policy = models_policy(target.member, named)
    answer = run(host, target.name, partition_words("plan"), STEP_SECONDS, json.dumps(policy))
    if not answer.ok:
        raise RetireError(f"{target.name}: the weights cannot be judged: {answer.reason}")
    approved = json.loads(answer.value)["digest"]
    step(f"weights go: {', '.join(named)}", partition_words("clean", "--approved", approved), policy)
    root = PurePosixPath(target.member.model_root)
    above = {str(parent) for name in named for parent in (root / name).parents if root in parent.parents}
    if above:
        inner_first = sorted(above, key=len, reverse=True)
        step("directories that held only these go", writer_words("away"), {**NOTHING, "directories": inner_first})

"""Images of a cluster wherever they are kept: in Docker on every host, archived on the head, archived here."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from gx10_host import ENTRY
from gx10_host.exits import DAMAGED
from rich.table import Table
from rich.text import Text

from gx10.access.remote import Answer, ask, run
from gx10.described.description import Description
from gx10.described.host_files import transfers_file
from gx10.described.image_inputs import LABEL
from gx10.probes import probes_words
from gx10.transfer.control_archive import ControlArchive
from gx10.transfer.through_ssh import TransferError

CONTROL = "control node"
GOOD, BAD, UNKNOWN = "green", "red", "magenta"


@dataclass(frozen=True)
class Place:
    """What one place holds; `reason` says why it could not be asked."""

    name: str
    image: dict[str, Any] | None = None
    archive: dict[str, Any] | None = None
    leftovers: tuple[dict[str, Any], ...] = ()
    transfer: dict[str, Any] | None = None
    reason: str = ""


def places(description: Description) -> list[Place]:
    """Ask every host and the control node at once."""
    cluster, reference = description.cluster, description.image_reference
    policy, archive = description.image_policy(reference), str(cluster.paths.archive)
    listing = [ENTRY, "archive", "list", "--archive", archive]
    kept = {"transfers": transfers_file(cluster)}

    def question(host: str) -> list[str]:
        asked = ("docker", {"images": [reference]}), ("leftovers", {"policy": policy}), ("reach", {"read": kept})
        script = probes_words(*asked)[2]
        if host == cluster.head:
            # Last: a host that nothing was deployed to has no program for it.
            script += f"\n{' '.join(listing)} 2>/dev/null || echo null"
        return ["sh", "-ec", script]

    answers = ask(description, question, cluster.hosts)
    return [*(_place(description, answer) for answer in answers.values()), *_control(description)]


def _place(description: Description, answer: Answer) -> Place:
    if not answer.ok:
        return Place(answer.host, reason=answer.reason)
    docker, left, kept, *archive = answer.value
    # The host keeps what all its transfers came to, those of weights as well.
    own = [rate for rate in kept["read"]["transfers"] or () if rate["what"].startswith(f"{description.image.name}:")]
    return Place(
        answer.host,
        image=docker["images"][description.image_reference],
        archive=archive[0] if archive else None,
        leftovers=tuple(left["plan"]),
        transfer=own[0] if own else None,
    )


def _control(description: Description) -> list[Place]:
    kept = ControlArchive.of(description)
    if kept is None:
        return []
    try:
        told = json.loads(kept.program("archive", "list", "--archive", str(kept.directory)))
        return [Place(CONTROL, archive=told, leftovers=tuple(kept.leftovers(description.image_reference)))]
    except TransferError as error:
        return [Place(CONTROL, reason=str(error))]


def judged(description: Description, found: list[Place]) -> list[str]:
    """What is not as described, in sentences; a host that was not asked is told apart by `unknown`."""
    reference, digest = description.image_reference, description.inputs.digest
    faults = []
    head = next(place for place in found if place.name == description.cluster.head)
    for place in found:
        if place.reason:
            continue
        if place.name != CONTROL:
            if place.image is None:
                faults.append(f"{place.name}: {reference} is missing")
            elif place.image["labels"].get(LABEL) != digest:
                faults.append(f"{place.name}: {reference} was built from other inputs: the tag was moved")
            elif head.image and place.image["layers"] != head.image["layers"]:
                faults.append(f"{place.name}: {reference} has other layers than {head.name}'s")
        if place.name == CONTROL or place is head:
            kept = _archived(place, reference)
            if kept is None:
                faults.append(f"{place.name}: no archive of {reference}")
            elif place.image and kept["layers"] != place.image["layers"]:
                faults.append(f"{place.name}: {reference} has other layers than its archive: the tag was moved")
    return faults


def _archived(place: Place, reference: str) -> dict[str, Any] | None:
    images = (place.archive or {}).get("images") or []
    return next((image for image in images if image["name"] == reference), None)


def verified(description: Description) -> tuple[list[str], list[str]]:
    """Hash both archives whole and compare images; faults, and what could not be asked."""
    cluster = description.cluster
    found = places(description)
    faults = judged(description, found)
    unknown = [f"{place.name}: {place.reason}" for place in found if place.reason]
    archive = [ENTRY, "archive", "verify", "--archive", str(cluster.paths.archive)]
    answer = run(description, cluster.head, archive, seconds=3600)
    if not answer.ok:
        (faults if answer.status == DAMAGED else unknown).append(f"{cluster.head}: {answer.reason}")
    kept = ControlArchive.of(description)
    if kept is not None:
        try:
            kept.program("archive", "verify", "--archive", str(kept.directory))
        except TransferError as error:
            faults.append(str(error))
    return faults, unknown


def removed(description: Description, *, dry: bool) -> tuple[list[tuple[str, dict[str, Any]]], list[str]]:
    """Remove what the policy does not keep, or only name it: (place, item) of each, and what went wrong."""
    reference, faults = description.image_reference, []
    # Named and removed by the same program and by the policy that was deployed, so that both are the same things.
    words = [ENTRY, "images", "plan" if dry else "clean"]
    gone: list[tuple[str, dict[str, Any]]] = []
    for host, answer in ask(description, lambda _: words, description.cluster.hosts).items():
        if not answer.ok:
            faults.append(f"{host}: {answer.reason}")
            continue
        gone += [(host, item) for item in answer.value[0]]
    kept = ControlArchive.of(description)
    if kept is not None:
        try:
            gone += [(CONTROL, item) for item in (kept.leftovers(reference) if dry else kept.clean(reference))]
        except TransferError as error:
            faults.append(str(error))
    return gone, faults


def table(description: Description, found: list[Place]) -> Table:
    """One row a place: the described image, archives, what could go, and how fast the last transfer was."""
    reference, digest = description.image_reference, description.inputs.digest
    shown = Table(title=f"image {reference} of cluster {description.cluster.name}", title_justify="left")
    for column in ("place", "image", "archives", "could go", "last transfer"):
        shown.add_column(column, no_wrap=column == "place")
    for place in found:
        if place.reason:
            shown.add_row(place.name, Text(place.reason, BAD), *[Text("unknown", UNKNOWN)] * 3)
            continue
        shown.add_row(
            place.name,
            Text("-") if place.name == CONTROL else _shown_image(place, digest),
            _shown_archives(place, reference, expected=place.name in (CONTROL, description.cluster.head)),
            _shown_leftovers(place),
            _shown_transfer(place),
        )
    return shown


def _shown_image(place: Place, digest: str) -> Text:
    if place.image is None:
        return Text("missing", BAD)
    if place.image["labels"].get(LABEL) != digest:
        return Text("other inputs", BAD)
    return Text(f"{len(place.image['layers'])} layers, {place.image['size'] / 1e9:.1f} GB", GOOD)


def _shown_archives(place: Place, reference: str, *, expected: bool) -> Text:
    images = (place.archive or {}).get("images") or []
    if not expected:
        return Text("-")
    total = sum(image["own_bytes"] for image in images)
    there = _archived(place, reference)
    if there is None:
        return Text(f"not of this image ({len(images)} others)", BAD)
    return Text(f"{len(images)}, this one {there['bytes'] / 1e9:.1f} GB, {total / 1e9:.1f} GB not shared", GOOD)


def _shown_leftovers(place: Place) -> Text:
    total = sum(item["bytes"] for item in place.leftovers)
    return Text(f"{len(place.leftovers)}: {total / 1e9:.1f} GB" if place.leftovers else "-")


def _shown_transfer(place: Place) -> Text:
    told = place.transfer
    if told is None:
        return Text("-")
    rate = told["bytes"] / max(told["seconds"], 1e-3) / 1e6
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(told["at"]))
    return Text(f"{told['bytes'] / 1e6:.0f} MB at {rate:.0f} MB/s, {when}")

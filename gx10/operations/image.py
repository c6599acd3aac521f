"""The engine image: built once on the head, archived by content, and the same on every host.

In one file because every step asks the same `Distributed` what stands where, and they are one screen each.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from gx10_host import ENTRY
from gx10_host.content.manifest import digest_of_manifest
from gx10_host.exits import DAMAGED
from pyinfra import host
from pyinfra.api.command import PyinfraCommand, QuoteString, StringCommand
from typing_extensions import override

from gx10.described.entries import File
from gx10.described.image_inputs import LABEL, archive_name
from gx10.drift.classes import Drift
from gx10.facts import DockerState, ImageLeftovers, StoredContent, WheelFaults
from gx10.settings import Image
from gx10.settings.image import BaseImage
from gx10.transfer.control_archive import ControlArchive

from .files import put_command
from .loop.asking import ask, surveyed_first
from .loop.commands import Command, Commands, ControlWork, Elsewhere, Narrated, elsewhere, exit_status, numbered, refuse
from .loop.declared import drifted, operation

if TYPE_CHECKING:
    from pyinfra.api.arguments import ConnectorArguments
    from pyinfra.api.host import Host
    from pyinfra.api.state import State
    from pyinfra.connectors.util import CommandOutput

ARCHIVE_PROGRAM = (ENTRY, "archive")
CONTENT_PROGRAM = (ENTRY, "content")
GC_PROGRAM = (ENTRY, "images")
NO_BUILD = "GX10_NO_BUILD"
"""Environment variable: where it is set, an image that no host and no archive holds is refused instead of built."""
BUILD_SECONDS = 7200
"""Upper bound of one build; that of the four-GX10 benchmark took 10 minutes."""


@dataclass(frozen=True)
class Distributed:
    """The engine image of a cluster: what it is called, where it is kept, and from whom it comes."""

    reference: str
    digest: str
    """Digest of its inputs, which it carries as a label."""
    archive: str
    """Directory of the archive on each host; on a worker it is only a way station."""
    head: str
    workers: tuple[str, ...]
    shares: Mapping[str, Sequence[str]]
    """URLs of each host's share, one for each fabric address."""
    control: ControlArchive | None
    """The control node's own archive, where the cluster file asks for one."""
    record: str
    """File on each host that keeps what its transfers came to."""

    def found(self, on: str | None = None) -> dict[str, Any] | None:
        """The image of this name in a host's Docker."""
        told: dict[str, Any] | None = ask(DockerState, on, images=[self.reference])["images"][self.reference]
        return told

    def described(self, on: str | None = None) -> dict[str, Any] | None:
        """The image in a host's Docker, if it was built from these inputs."""
        found = self.found(on)
        return found if found and found["labels"].get(LABEL) == self.digest else None

    def archived(self, on: str | None = None) -> dict[str, Any] | None:
        """The archive of this image on a host, and what of it is proven."""
        stored: dict[str, Any] | None = self.told(on)["archive"]
        return stored

    def told(self, on: str | None = None) -> dict[str, Any]:
        """What a host knows of its archive."""
        return ask(StoredContent, on, archive=self.archive, image=archive_name(self.reference))

    def kept(self) -> dict[str, Any] | None:
        """The manifest of the control node's own archive of it."""
        return self.control.manifest(self.reference) if self.control else None

    def held(self, hosts: Sequence[str]) -> tuple[str, dict[str, Any]] | None:
        """The first of some hosts that has it, and as what."""
        images = {name: self.described(name) for name in hosts}
        return next(((name, found) for name, found in images.items() if found), None)

    def words(self, command: str, *more: str) -> list[QuoteString]:
        """A command of the archive's program for this image."""
        common = ["--archive", self.archive, "--image", archive_name(self.reference)]
        return [QuoteString(word) for word in [*ARCHIVE_PROGRAM, command, self.reference, *common, *more]]

    def received(self, sender: str, *more: str) -> Narrated:
        """Have it from another host's archive."""
        return Narrated(*self.words("receive", *more, "--url", *(f"{url}/archive" for url in self.shares[sender])))

    def sent(self) -> ControlWork:
        """Have the control node's archive on the head."""
        assert self.control  # noqa: S101 - whoever asks has seen its manifest
        control = self.control
        title = f"Send the archive of {self.reference} to {self.head}"
        return ControlWork(title, lambda tell: control.send(self.reference, tell))


@operation(drift=Drift.HEAL, artifact=True)
def image_built(distributed: Distributed, image: Image, pins: str, context: dict[str, bytes], state: str) -> Commands:
    """Have the image of these inputs on the head: as it is, from the nearest archive or host that has it, or built.

    The image is compared by the digest of its inputs, which it carries as a label, and by the layers of its archive: a
    tag proves nothing, and a container committed under it keeps the label.
    """
    if elsewhere([distributed.head]):
        return
    reference, digest = distributed.reference, distributed.digest
    found, described, stored = distributed.found(), distributed.described(), distributed.archived()
    whole = stored is not None and not stored["unproven"]
    if described and not (whole and stored and stored["layers"] != described["layers"]):
        host.noop(f"{reference} was built from these inputs")
        return
    if not drifted(reference, found["id"][7:19] if found else "absent", f"built from {digest[:12]}"):
        return
    if whole or distributed.kept():
        if not whole:
            yield distributed.sent()
        yield Narrated(*distributed.words("load"))
    elif holder := distributed.held(distributed.workers):
        yield from _restored_from(holder[0], distributed)
    elif os.environ.get(NO_BUILD):
        yield from refuse(
            f"no archive and no host holds {reference}, so it cannot be restored. "
            "Build it with `gx10 images build` or an ordinary deploy."
        )
    else:
        yield from _built(image, pins, reference, f"{state}/build/{digest[:12]}", context, digest)


def _restored_from(holder: str, distributed: Distributed) -> Commands:
    """Let another host archive its image, and bring it here over the fabric."""
    yield Elsewhere(holder, *distributed.words("save"))
    yield distributed.received(holder)
    yield Elsewhere(holder, *ARCHIVE_PROGRAM, "clear", "--archive", QuoteString(distributed.archive))


def _built(  # noqa: PLR0917 - an image and what it is called and made of
    image: Image, pins: str, reference: str, root: str, context: dict[str, bytes], digest: str
) -> Commands:
    """Build from the pins, once everything that they name is there and there is room for the result."""
    if faults := _wheel_faults(image, pins):
        yield from refuse(*faults)
        return
    yield put_command([File(f"{root}/{name}", content) for name, content in context.items()])
    yield Command(*GC_PROGRAM, "room", "--for", QuoteString(f"building {reference}"), "--gib", f"{image.build_gib:g}")
    if image.base.archive:
        yield _base_loaded(image.base, str(image.base.archive))
    yield _build(image, reference, digest, root)


def _wheel_faults(image: Image, pins: str) -> list[str]:
    """What is wrong with the required wheels on the head, each with where to get the right one."""
    wheels = {wheel.name: wheel for wheel in image.wheels.required}
    directory = str(image.wheels.directory)
    faults = ask(WheelFaults, directory=directory, required={name: wheel.sha256 for name, wheel in wheels.items()})
    return [
        f"wheel {name} in {directory} {fault}. {pins} says where it comes from: {wheels[name].origin}."
        + ("" if wheels[name].sha256 else f" Pin the file you hold: gx10 images lock {image.name} --wheels DIRECTORY.")
        for name, fault in faults.items()
    ]


def _base_loaded(base: BaseImage, archive: str) -> PyinfraCommand:
    there = StringCommand("docker", "image", "inspect", "--format", "ok", QuoteString(base.name))
    load = StringCommand("docker", "load", "--quiet", "--input", QuoteString(archive))
    if base.archive_sha256 is None:
        return Command(there, ">/dev/null", "2>&1", "||", load)
    line = QuoteString(f"{base.archive_sha256}  {archive}")
    check = StringCommand("echo", line, "|", "sha256sum", "--check", "--quiet", "-", ">&2")
    return Command(there, ">/dev/null", "2>&1", "||", "{", check, "&&", load, "; }")


def build_words(image: Image, reference: str, digest: str, root: str) -> list[str]:
    """The build of an image from its context in `root`, under a bound."""
    arguments = {"BASE_IMAGE": image.base.built_from, **image.args}
    index = ["--build-context", f"index={image.wheels.index}"] if image.wheels.index else []
    return [
        "timeout", "--kill-after=10", str(BUILD_SECONDS), "docker", "build", "--progress=plain",
        "--platform", image.platform, "--tag", reference, "--label", f"{LABEL}={digest}",
        "--target", image.target, "--build-context", f"wheels={image.wheels.directory}", *index,
        "--file", f"{root}/{PurePosixPath(image.dockerfile).name}",
        *(word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")),
        root,
    ]  # fmt: skip


def _build(image: Image, reference: str, digest: str, root: str) -> PyinfraCommand:
    """Build; the whole log stays on the host, the headings of its steps are shown."""
    log = QuoteString(f"{root}/build.log")
    # The log's last lines explain a failure; grep's own status must not hide docker's.
    return Narrated(
        *(QuoteString(word) for word in build_words(image, reference, digest, root)), "2>&1", "|", "tee", log, "|",
        "{", "grep", "--line-buffered", "-E", QuoteString(r"^#[0-9]+ (\[|DONE|ERROR)"), "||", "true;", "}",
        "||", "{", "tail", "-n", "40", log, ">&2;", "exit", "1;", "}",
        _shell_executable="bash -o pipefail",
    )  # fmt: skip


@operation(drift=Drift.HEAL, artifact=True)
def image_archived(distributed: Distributed) -> Commands:
    """Keep an archive of the head's image, so that a lost image comes back without a build."""
    if elsewhere([distributed.head]):
        return
    reference, stored = distributed.reference, distributed.archived()
    if not distributed.described() and distributed.kept() and not host.state.is_executing:
        host.noop(f"the archive of {reference} will be whole once it has brought the image back")
        return
    # A whole archive is what the image was archived as, or is loaded from where Docker has another or none.
    if stored and not stored["unproven"]:
        host.noop(f"the archive of {reference} is whole")
        return
    damaged = f"{len(stored['unproven'])} files not proven" if stored else "absent"
    if drifted(f"archive of {reference}", damaged, "whole"):
        yield Narrated(*distributed.words("save"))


@operation(drift=Drift.HEAL)
def archive_kept_here(distributed: Distributed) -> Commands:
    """Keep the head's archive on the control node as well, for the day on which every host has lost its image."""
    if elsewhere([distributed.head]):
        return
    reference, head, control = distributed.reference, distributed.head, distributed.control
    if control is None:
        host.noop("this node is to keep no archive")
        return
    stored, kept = distributed.archived(), distributed.kept()
    if kept and stored and digest_of_manifest(kept) == stored["digest"]:
        host.noop(f"the control node has the archive of {reference}")
        return
    if kept and stored is None and not host.state.is_executing:
        host.noop(f"the head's archive of {reference} will be the control node's")
        return
    if not drifted(f"archive of {reference} on the control node", "another or none", "the head's"):
        return
    yield ControlWork(f"Fetch the archive of {reference} from {head}", lambda tell: control.fetch(reference, tell))


@operation(drift=Drift.HEAL, artifact=True)
def image_received(distributed: Distributed) -> Commands:
    """Have the head's very image: equal in layers and configuration, fetched over the fabric where it is not."""
    if elsewhere(distributed.workers):
        return
    reference, head = distributed.reference, distributed.head
    ours, theirs, stored = distributed.found(), distributed.found(head), distributed.archived(head)
    moved = bool(theirs and stored and not stored["unproven"] and theirs["layers"] != stored["layers"])
    if theirs is None or moved:
        # In a dry run the head's image still is lost or moved: what will stand there says where it comes from.
        theirs = None
        coming = stored or distributed.kept() or (distributed.held(distributed.workers) or ("", None))[1]
        same = bool(ours and coming and ours["layers"] == coming["layers"])
    else:
        same = bool(ours and theirs and (ours["layers"], ours["config"]) == (theirs["layers"], theirs["config"]))
    if same:
        if distributed.told()["archive_files"]:
            if drifted(distributed.archive, "left of a transfer", "empty"):
                # A run that was killed fetched what another had loaded: on a worker the archive is only a way station.
                yield Command(*ARCHIVE_PROGRAM, "clear", "--archive", QuoteString(distributed.archive))
            return
        host.noop(f"{reference} is the head's")
        return
    if not drifted(reference, ours["id"][7:19] if ours else "absent", theirs["id"][7:19] if theirs else "the head's"):
        return
    if theirs is None and host.state.is_executing:
        yield from refuse(f"{head} has no image {reference} to send. Look at what its own operations reported.")
        return
    yield ReceivedOrMended(distributed)


class ReceivedOrMended(Narrated):
    """Receive an image; where the sender's archive turns out damaged, have that made good from its Docker, once."""

    def __init__(self, distributed: Distributed) -> None:
        super().__init__(*numbered(distributed.received(distributed.head, "--record", distributed.record)))
        self.head = distributed.head
        verify = StringCommand(*ARCHIVE_PROGRAM, "verify", "--archive", QuoteString(distributed.archive))
        self.mend = StringCommand(verify, "||", *distributed.words("save"))

    @override
    def execute(self, state: State, host: Host, connector_arguments: ConnectorArguments) -> tuple[bool, CommandOutput]:
        done, output = super().execute(state, host, connector_arguments)
        if done or exit_status(output) != DAMAGED:
            return done, output
        mended, told = Elsewhere(self.head, self.mend).execute(state, host, connector_arguments)
        return super().execute(state, host, connector_arguments) if mended else (mended, told)


@operation(drift=Drift.HEAL)
def image_used(policy: dict[str, object]) -> Commands:
    """Note on every host that this image is the described one now, so that the one before it is known and stays."""
    if ask(ImageLeftovers, policy=policy)["used"][:1] == [policy["described"]]:
        host.noop("the described image is noted")
        return
    if not drifted("image in use", "another", str(policy["described"])):
        return
    yield Command(*GC_PROGRAM, "used")


@operation(drift=Drift.HEAL)
def old_images_removed(policy: dict[str, object]) -> Commands:
    """Remove, each by its name, images, archives, build cache and build directories that the policy does not keep.

    Only what was there when the run began: what a run itself leaves over is the next one's, or no dry run could tell.
    """
    plan = surveyed_first(ImageLeftovers, policy=policy)["plan"]
    going = [item for item in plan if drifted(item["name"], "left over", "removed")]
    if not going:
        host.noop("nothing is left over of earlier images")
        return
    names = [QuoteString(item["name"]) for item in going]
    yield Narrated(*GC_PROGRAM, "clean", "--only", *names)

"""The engine image: built once on the head, archived by content, and the same on every host."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand, QuoteString, StringCommand

from gx10.engine.image_inputs import LABEL
from gx10.facts import DockerState, StoredContent, WheelFaults
from gx10.settings import Image

from .asking import ask
from .commands import Command, Commands, Narrated, elsewhere, refuse
from .files import File, put_command

ARCHIVE_PROGRAM = "/usr/local/lib/gx10/archive.py"
CONTENT_PROGRAM = "/usr/local/lib/gx10/content.py"
BUILD_SECONDS = 7200
"""Upper bound of one build; the bench document's took 10 minutes."""


def archive_name(reference: str) -> str:
    """File name of an image's manifest in an archive."""
    return reference.replace(":", "-").replace("/", "_") + ".json"


def _image(reference: str, on: str | None = None) -> dict[str, Any] | None:
    found: dict[str, Any] | None = ask(DockerState, on, images=[reference])["images"][reference]
    return found


def _archived(archive: str, reference: str) -> dict[str, Any] | None:
    told = ask(StoredContent, archive=archive, image=archive_name(reference))
    stored: dict[str, Any] | None = told["archive"]
    return stored


@operation()
def image_built(
    *,
    image: Image,
    pins: str,
    reference: str,
    digest: str,
    context: dict[str, bytes],
    state: str,
    archive: str,
    head: str,
) -> Commands:
    """Have the image of these inputs on the head: as it is, from its archive, or built.

    The image is compared by the digest of its inputs, which it carries as a label; a tag proves nothing.
    """
    if elsewhere([head]):
        return
    found = _image(reference)
    if found and found["labels"].get(LABEL) == digest:
        host.noop(f"{reference} was built from these inputs")
        return
    stored = _archived(archive, reference)
    if stored and not stored["unproven"]:
        yield _load(reference, archive)
        return
    required = {wheel.file: wheel.sha256 for wheel in image.wheels.required}
    directory = str(image.wheels.directory)
    faults = ask(WheelFaults, directory=directory, required=required)
    if faults:
        yield from refuse(
            *(
                f"wheel {name} in {directory} {fault}. Put the file there that {pins} pins."
                for name, fault in faults.items()
            )
        )
        return
    root = f"{state}/build/{digest[:12]}"
    yield put_command([File(f"{root}/{name}", content) for name, content in context.items()])
    if image.base.archive:
        yield _base_loaded(image.base.reference, str(image.base.archive))
    yield _build(image, reference, digest, root)


def _load(reference: str, archive: str, *, then_drop: bool = False) -> PyinfraCommand:
    words = [ARCHIVE_PROGRAM, "load", reference, "--archive", archive, "--image", archive_name(reference)]
    return Narrated(*(QuoteString(word) for word in words), *(["--then-drop"] if then_drop else []))


def _base_loaded(reference: str, archive: str) -> PyinfraCommand:
    there = StringCommand("docker", "image", "inspect", "--format", "ok", QuoteString(reference))
    return Command(there, ">/dev/null", "2>&1", "||", "docker", "load", "--quiet", "--input", QuoteString(archive))


def _build(image: Image, reference: str, digest: str, root: str) -> PyinfraCommand:
    """Build under a bound; the whole log stays on the host, the headings of its steps are shown."""
    # Named one by one: another wheel that lies in the directory must not find its way into the image.
    wheels = " ".join(wheel.file for wheel in image.wheels.required)
    arguments = {"BASE_IMAGE": image.base.reference, "ENGINE_WHEELS": wheels, **image.args}
    words = [
        "timeout", "--kill-after=10", str(BUILD_SECONDS), "docker", "build", "--progress=plain",
        "--platform", image.platform, "--tag", reference, "--label", f"{LABEL}={digest}",
        "--build-context", f"wheels={image.wheels.directory}",
        "--file", f"{root}/{PurePosixPath(image.dockerfile).name}",
        *(word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")),
        root,
    ]  # fmt: skip
    log = QuoteString(f"{root}/build.log")
    # The log's last lines explain a failure; grep's own status must not hide docker's.
    return Narrated(
        *(QuoteString(word) for word in words), "2>&1", "|", "tee", log, "|",
        "{", "grep", "--line-buffered", "-E", QuoteString(r"^#[0-9]+ (\[|DONE|ERROR)"), "||", "true;", "}",
        "||", "{", "tail", "-n", "40", log, ">&2;", "exit", "1;", "}",
        _shell_executable="bash -o pipefail",
    )  # fmt: skip


@operation()
def image_archived(reference: str, archive: str, head: str) -> Commands:
    """Keep an archive of the head's image, so that a lost image comes back without a build."""
    if elsewhere([head]):
        return
    found, stored = _image(reference), _archived(archive, reference)
    # Without an image, a whole archive is what the image was or will be loaded from.
    if stored and not stored["unproven"] and (found is None or stored["layers"] == found["layers"]):
        host.noop(f"the archive of {reference} is whole")
        return
    words = [ARCHIVE_PROGRAM, "save", reference, "--archive", archive, "--image", archive_name(reference)]
    yield Narrated(*(QuoteString(word) for word in words))


@operation()
def image_received(reference: str, head: str, workers: Sequence[str], archive: str, share: str) -> Commands:
    """Have the head's very image: equal in layers and configuration, fetched over the fabric where it is not.

    `share` is the URL of the head's share on the fabric.
    """
    if elsewhere(workers):
        return
    ours, theirs = _image(reference), _image(reference, on=head)
    if ours and theirs and (ours["layers"], ours["config"]) == (theirs["layers"], theirs["config"]):
        if ask(StoredContent, archive=archive, image=archive_name(reference))["archive_files"]:
            # A run that was killed fetched what another had loaded: on a worker the archive is only a way station.
            yield Command(ARCHIVE_PROGRAM, "clear", "--archive", QuoteString(archive))
            return
        host.noop(f"{reference} is the head's")
        return
    if theirs is None and host.state.is_executing:
        yield from refuse(f"{head} has no image {reference} to send. Look at what its own operations reported.")
        return
    name = archive_name(reference)
    words = [CONTENT_PROGRAM, "fetch", "--url", f"{share}/archive", "--manifest", f"images/{name}", "--to", archive]
    yield Narrated(*(QuoteString(word) for word in words))
    yield _load(reference, archive, then_drop=True)

"""Image: built once on the head, archived, the same on every host; what earlier ones left behind is removed."""

from __future__ import annotations

from pyinfra.api import deploy

from gx10.engine.description import Description
from gx10.engine.host_files import share_urls, transfers_file
from gx10.operations.image import (
    archive_kept_here,
    image_archived,
    image_built,
    image_received,
    image_used,
    old_images_removed,
)
from gx10.transfer.control_archive import ControlArchive


@deploy("Image")
def image(description: Description) -> None:
    """Have the image that the pins, wheels and mods describe."""
    cluster, reference, digest = description.cluster, description.image_reference, description.inputs.digest
    archive, control = str(cluster.paths.archive), ControlArchive.of(description)
    image_built(
        name="Have the engine image: restored from where it is kept, or built from its pins",
        image=description.image,
        pins=description.loaded.image_file,
        reference=reference,
        digest=digest,
        context=description.inputs.context,
        state=str(cluster.paths.state),
        archive=archive,
        control=control,
        shares={name: share_urls(cluster, name) for name in cluster.hosts},
        head=cluster.head,
    )
    image_archived(
        name="Archive the engine image",
        reference=reference,
        digest=digest,
        archive=archive,
        control=control,
        head=cluster.head,
    )
    archive_kept_here(
        name="Keep the archive on the control node",
        reference=reference,
        archive=archive,
        control=control,
        head=cluster.head,
    )
    image_received(
        name="Receive the engine image over the fabric",
        reference=reference,
        digest=digest,
        head=cluster.head,
        workers=cluster.workers,
        archive=archive,
        control=control,
        shares=share_urls(cluster, cluster.head),
        record=transfers_file(cluster),
    )
    image_used(name="Note the described image", policy=description.image_policy(reference))


@deploy("Image")
def old_images(description: Description) -> None:
    """Remove what earlier images left behind, once the described one serves."""
    policy = description.image_policy(description.image_reference)
    old_images_removed(name="Remove what earlier images left behind", policy=policy)

"""Image: built once on the head, archived, the same on every host; what earlier ones left behind is removed."""

from __future__ import annotations

from pyinfra.api import deploy

from gx10.described.description import Description
from gx10.described.host_files import share_urls, transfers_file
from gx10.operations.image import (
    Distributed,
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
    cluster = description.cluster
    distributed = Distributed(
        reference=description.image_reference,
        digest=description.inputs.digest,
        archive=str(cluster.paths.archive),
        head=cluster.head,
        workers=tuple(cluster.workers),
        shares={name: share_urls(cluster, name) for name in cluster.hosts},
        control=ControlArchive.of(description),
        record=transfers_file(cluster),
    )
    image_built(
        name="Have the engine image: restored from where it is kept, or built from its pins",
        distributed=distributed,
        image=description.image,
        pins=description.loaded.image_file,
        context=description.inputs.context,
        state=str(cluster.paths.state),
    )
    image_archived(name="Archive the engine image", distributed=distributed)
    archive_kept_here(name="Keep the archive on the control node", distributed=distributed)
    image_received(name="Receive the engine image over the fabric", distributed=distributed)
    image_used(name="Note the described image", policy=description.image_policy(distributed.reference))


@deploy("Image")
def old_images(description: Description) -> None:
    """Remove what earlier images left behind, once the described one serves."""
    policy = description.image_policy(description.image_reference)
    old_images_removed(name="Remove what earlier images left behind", policy=policy)

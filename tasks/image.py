"""Image: built once on the head, archived, and the same on every host."""

from __future__ import annotations

from pyinfra.api import deploy

from gx10.engine.description import Description
from gx10.engine.host_files import share_url
from gx10.operations.image import image_archived, image_built, image_received


@deploy("Image")
def image(description: Description) -> None:
    """Have the image that the pins, wheels and mods describe."""
    cluster, reference = description.cluster, description.image_reference
    archive = str(cluster.paths.archive)
    image_built(
        name="Build the engine image from its pins",
        image=description.image,
        pins=description.loaded.image_file,
        reference=reference,
        digest=description.inputs.digest,
        context=description.inputs.context,
        state=str(cluster.paths.state),
        archive=archive,
        head=cluster.head,
    )
    image_archived(name="Archive the engine image", reference=reference, archive=archive, head=cluster.head)
    image_received(
        name="Receive the engine image over the fabric",
        reference=reference,
        head=cluster.head,
        workers=cluster.workers,
        archive=archive,
        share=share_url(cluster, cluster.head),
    )

"""Ray: one container a host, joined over the fabric, started and stopped with the gang."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import deploy

from gx10.engine import gang_files
from gx10.engine.description import Description
from gx10.operations.files import File, files_described
from gx10.operations.gang import Gang, generation_described, older_generation_stopped, part_started
from gx10.operations.system import units_enabled


@deploy("Ray")
def ray(description: Description) -> None:
    """Describe the gang's units, stop an older generation, start Ray on the head and then on the workers."""
    cluster = description.cluster
    unit = gang_files.ray_unit(cluster, host.name)
    gang = Gang(
        head=cluster.head,
        hosts=tuple(cluster.hosts),
        configuration=gang_files.configuration(description),
        model_directory=description.model_directory,
    )
    described = gang_files.ray_files(description, host.name)
    stops = [unit]
    if host.name == cluster.head:
        described += gang_files.engine_files(description)
        stops = [gang_files.ENGINE_UNIT, unit]
    generation_described(name="Write the digest of the described generation", gang=gang)
    files_described(
        name="Write the units of the gang",
        entries=[File(file.path, file.content, mode=file.mode) for file in described],
    )
    units_enabled(name="Start the gang at boot", units=list(reversed(stops)))
    older_generation_stopped(name="Stop the older generation of the gang", gang=gang, units=stops)
    part_started(name="Start Ray on the head", unit=unit, hosts=[cluster.head])
    part_started(name="Start Ray on the workers", unit=unit, hosts=cluster.workers)

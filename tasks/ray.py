"""Ray: one container a host, joined over the fabric, started and stopped with the gang."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import deploy

from gx10.engine import gang_files
from gx10.engine.description import Description
from gx10.operations.files import File, files_described
from gx10.operations.gang import Gang, generation_described, older_generation_stopped, part_started
from gx10.operations.system import units_enabled


def gang_units(description: Description, name: str) -> list[str]:
    """Units of the gang on a host, in the order they start."""
    unit = gang_files.ray_unit(description.cluster, name)
    return [unit, gang_files.ENGINE_UNIT] if name == description.cluster.head else [unit]


def gang_entries(description: Description, name: str) -> list[File]:
    """Files of the gang on a host."""
    described = gang_files.ray_files(description, name)
    if name == description.cluster.head:
        described += gang_files.engine_files(description)
    return [File(file.path, file.content, mode=file.mode) for file in described]


@deploy("Ray")
def ray(description: Description) -> None:
    """Describe the gang's units, stop an older generation, start Ray on the head and then on the workers."""
    cluster = description.cluster
    units = gang_units(description, host.name)
    gang = Gang(
        head=cluster.head,
        hosts=tuple(cluster.hosts),
        configuration=gang_files.configuration(description),
        model_directory=description.model_directory,
    )
    generation_described(name="Write the digest of the described generation", gang=gang)
    files_described(name="Write the units of the gang", entries=gang_entries(description, host.name))
    units_enabled(name="Start the gang at boot", units=units)
    older_generation_stopped(
        name="Stop the engine of an older generation", gang=gang, unit=gang_files.ENGINE_UNIT, hosts=[cluster.head]
    )
    older_generation_stopped(
        name="Stop Ray of an older generation", gang=gang, unit=units[0], hosts=tuple(cluster.hosts)
    )
    part_started(name="Start Ray on the head", unit=units[0], hosts=[cluster.head])
    part_started(name="Start Ray on the workers", unit=units[0], hosts=cluster.workers)

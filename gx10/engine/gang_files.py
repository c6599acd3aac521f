"""Units and environment files of the gang on each host, and the digest of all that configures it."""

from __future__ import annotations

from dataclasses import dataclass

from gx10.settings import Cluster

from . import units
from .description import Description
from .generation import digest
from .templates import render

UNITS = "/etc/systemd/system"
RAY_ENVIRONMENT = "/etc/gx10/ray.env"
ENGINE_ENVIRONMENT = "/etc/gx10/engine.env"
ENGINE_UNIT = "vllm-engine.service"
RANK_GATE_SECONDS = 120
"""How long one attempt waits for the head; the unit tries again after it."""


@dataclass(frozen=True)
class GangFile:
    """A file that configures the gang on one host."""

    path: str
    content: bytes
    mode: str = "644"


def ray_unit(cluster: Cluster, host: str) -> str:
    """Name of the unit that runs Ray on a host."""
    return "ray-head.service" if host == cluster.head else "ray-worker.service"


def ray_files(description: Description, host: str) -> tuple[GangFile, ...]:
    """Unit and environment of Ray on a host."""
    cluster = description.cluster
    address = cluster.hosts[host].fabric[0]
    gate = ["--address", str(address), "--memory-gib", f"{cluster.host.start_memory_gib:g}"]
    gate += ["--seconds", str(RANK_GATE_SECONDS)]
    if host != cluster.head:
        gate += ["--head", f"{cluster.head_address}:{cluster.ray.ports.gcs}"]
    if cluster.host.drop_page_cache:
        gate += ["--drop-page-cache"]
    unit = ray_unit(cluster, host)
    text = render(
        description.project,
        f"{UNITS}/{unit}",
        cluster=cluster.name,
        container=units.RAY_CONTAINER,
        runtime_directory=units.RAY_RUNTIME_DIRECTORY,
        gate=" ".join(units.unit_words(gate)),
        options=_lines(units.container_options(cluster, host, units.RAY_CONTAINER, RAY_ENVIRONMENT)),
        generation_label=units.GENERATION_LABEL,
        image=description.image_reference,
        command=_lines(units.ray_start(cluster, host)),
        start_timeout_seconds=RANK_GATE_SECONDS + 60,
    )
    environment = units.environment_file(units.ray_environment(cluster, host))
    return (GangFile(f"{UNITS}/{unit}", text), GangFile(RAY_ENVIRONMENT, environment))


def engine_files(description: Description) -> tuple[GangFile, ...]:
    """Unit and environment of the engine on the head."""
    cluster, gx10 = description.cluster, description.recipe.gx10
    options = units.container_options(cluster, cluster.head, units.ENGINE_CONTAINER, ENGINE_ENVIRONMENT)
    options += ["--pid", f"container:{units.RAY_CONTAINER}"]
    gate = ["--container", units.RAY_CONTAINER, "--gpus", str(description.gpus)]
    # systemd bounds gate and first completion together; each gives up before it, so that its sentence is read.
    gate_seconds = gx10.start_timeout_seconds // 3
    gate += ["--seconds", str(gate_seconds)]
    first = ["--url", description.local_url, "--model", description.served_name]
    first += ["--wait", str(gx10.start_timeout_seconds - gate_seconds - 10)]
    text = render(
        description.project,
        f"{UNITS}/{ENGINE_UNIT}",
        cluster=cluster.name,
        served_name=description.served_name,
        container=units.ENGINE_CONTAINER,
        runtime_directory=units.RPC_RUNTIME_DIRECTORY,
        gate=" ".join(units.unit_words(gate)),
        options=_lines(options),
        generation_label=units.GENERATION_LABEL,
        image=description.image_reference,
        command=_lines(description.argv),
        first_completion=" ".join(units.unit_words(first)),
        start_timeout_seconds=gx10.start_timeout_seconds,
        stop_seconds=gx10.stop_timeout_seconds,
        stop_timeout_seconds=gx10.stop_timeout_seconds + 20,
    )
    environment = units.environment_file(units.engine_environment(cluster, description.environment))
    return (GangFile(f"{UNITS}/{ENGINE_UNIT}", text), GangFile(ENGINE_ENVIRONMENT, environment))


def configuration(description: Description) -> str:
    """Digest of the image's inputs and of every file of the gang on every host: all but the weights."""
    files = {
        f"{host} {file.path}": file.content.decode()
        for host in description.cluster.hosts
        for file in ray_files(description, host)
    }
    files |= {file.path: file.content.decode() for file in engine_files(description)}
    return digest({"files": files, "image": description.inputs.digest})


def _lines(words: list[str] | tuple[str, ...]) -> str:
    """Words of a command, one option with its values a line, as a unit continues lines."""
    lines: list[list[str]] = []
    for word in words:
        if word.startswith("-") or not lines:
            lines.append([])
        lines[-1].append(units.unit_word(word))
    return " \\\n    ".join(" ".join(line) for line in lines)

"""Units, environment files and supervisor of the gang on each host, and the digest of all that configures it."""

from __future__ import annotations

import json

from gx10_host import gang

from gx10.closure import closure
from gx10.settings import Cluster

from . import units
from .description import Description, once
from .entries import File
from .generation import digest
from .templates import render

UNITS = "/etc/systemd/system"
RAY_ENVIRONMENT = "/etc/gx10/ray.env"
ENGINE_ENVIRONMENT = "/etc/gx10/engine.env"
GENERATION_FILE = "/etc/gx10/generation.env"
SUPERVISOR_FILE = "/etc/gx10/gang.json"
RAY_HEAD_UNIT, RAY_WORKER_UNIT = "ray-head.service", "ray-worker.service"
ENGINE_UNIT = "vllm-engine.service"
GANG_UNIT = gang.UNIT
PARTS = (RAY_HEAD_UNIT, RAY_WORKER_UNIT, ENGINE_UNIT)
"""Units of all parts that a gang can have, wherever they run."""
LIFE_DROP_IN, FALLBACK_DROP_IN = "50-life.conf", "60-fallback.conf"
RANK_GATE_SECONDS = 120
"""How long a rank waits for the head; all hosts were ready when it started."""


def ray_unit(cluster: Cluster, host: str) -> str:
    """Name of the unit that runs Ray on a host."""
    return RAY_HEAD_UNIT if host == cluster.head else RAY_WORKER_UNIT


@once
def ray_files(description: Description, host: str) -> tuple[File, ...]:
    """Unit and environment of Ray on a host."""
    cluster = description.cluster
    gate = ["--address", cluster.hosts[host].address, "--seconds", str(RANK_GATE_SECONDS)]
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
        needed_to_start_gib=f"{description.checked.needed_to_start_gib(host):g}",
        options=_lines(units.container_options(cluster, host, units.RAY_CONTAINER, RAY_ENVIRONMENT)),
        generation_label=units.GENERATION_LABEL,
        life_label=units.LIFE_LABEL,
        image=description.image_reference,
        command=_lines(units.ray_start(cluster, host)),
        start_timeout_seconds=RANK_GATE_SECONDS + 60,
    )
    environment = units.environment_file(units.ray_environment(cluster, host))
    return (File(f"{UNITS}/{unit}", text), File(RAY_ENVIRONMENT, environment))


@once
def engine_files(description: Description) -> tuple[File, ...]:
    """Unit, environment and fallbacks of the engine on the head."""
    cluster, gx10 = description.cluster, description.recipe.gx10
    gate = ["--container", units.RAY_CONTAINER, "--gpus", str(description.gpus)]
    # systemd bounds gate and first completion together; each gives up before it, so that its sentence is read.
    gate_seconds = gx10.start_timeout_seconds // 3
    gate += ["--seconds", str(gate_seconds)]
    first = ["--url", description.local_url, "--model", description.served_name, "--past-door"]
    first += ["--wait", str(gx10.start_timeout_seconds - gate_seconds - 10)]
    text = render(
        description.project,
        f"{UNITS}/{ENGINE_UNIT}",
        cluster=cluster.name,
        served_name=units.unit_text(description.served_name),
        container=units.ENGINE_CONTAINER,
        runtime_directory=units.RPC_RUNTIME_DIRECTORY,
        gate=" ".join(units.unit_words(gate)),
        run=_engine_run(description, description.argv),
        first_completion=" ".join(units.unit_words(first)),
        start_timeout_seconds=gx10.start_timeout_seconds,
        stop_seconds=gx10.stop_timeout_seconds,
        stop_timeout_seconds=gx10.stop_timeout_seconds + 30,
    )
    environment = units.environment_file(units.engine_environment(cluster, description.environment))
    fallbacks = [
        File(
            fallback_path(number),
            render(
                description.project,
                "/etc/gx10/fallback.conf",
                name=units.unit_text(rung.name),
                run=_engine_run(description, rung.argv),
            ),
        )
        for number, rung in enumerate(description.checked.fallbacks, 1)
    ]
    return (File(f"{UNITS}/{ENGINE_UNIT}", text), File(ENGINE_ENVIRONMENT, environment), *fallbacks)


def supervisor_drop_ins(cluster: Cluster, host: str) -> tuple[str, ...]:
    """Drop-ins that the supervisor itself writes for each life of the gang on a host."""
    names = [f"{ray_unit(cluster, host)}.d/{LIFE_DROP_IN}"]
    if host == cluster.head:
        names += [f"{ENGINE_UNIT}.d/{LIFE_DROP_IN}", f"{ENGINE_UNIT}.d/{FALLBACK_DROP_IN}"]
    return tuple(f"/run/systemd/system/{name}" for name in names)


def fallback_path(number: int) -> str:
    """Where the drop-in of a rung stands."""
    return f"/etc/gx10/fallback-{number}.conf"


@once
def supervisor_files(description: Description, host: str) -> tuple[File, ...]:
    """Unit and configuration of the supervisor on a host; they may change without a restart of the gang."""
    cluster, gx10 = description.cluster, description.recipe.gx10
    head = host == cluster.head
    files = ray_files(description, host) + (engine_files(description) if head else ())
    configured = {
        "cluster": cluster.name,
        "host": host,
        "head": cluster.head,
        "hosts": {name: described.address for name, described in cluster.hosts.items()},
        "port": cluster.gang.port,
        "lease_seconds": cluster.gang.lease_seconds,
        "silence_seconds": cluster.gang.silence_seconds,
        "hook": str(cluster.gang.hook) if cluster.gang.hook else None,
        "needed_to_start_gib": description.checked.needed_to_start_gib(host),
        "image": description.image_reference,
        "ray_unit": ray_unit(cluster, host),
        "engine_unit": ENGINE_UNIT if head else None,
        "api_port": description.port,
        "model": description.served_name,
        "start_timeout_seconds": gx10.start_timeout_seconds,
        "stop_timeout_seconds": gx10.stop_timeout_seconds,
        "drain_timeout_seconds": gx10.drain_timeout_seconds,
        "liveness": gx10.liveness.model_dump(),
        "budget": gx10.budget.model_dump(),
        "fallbacks": [
            {
                "name": rung.name,
                "file": fallback_path(number),
                "needed_to_start_gib": description.checked.needed_to_start_gib(host, number),
            }
            for number, rung in enumerate(description.checked.fallbacks, 1)
        ],
        "files": [GENERATION_FILE, *(file.path for file in files)],
    }
    unit = render(
        description.project,
        f"{UNITS}/{GANG_UNIT}",
        cluster=cluster.name,
        parts=" ".join(PARTS),
        configuration=SUPERVISOR_FILE,
        stop_timeout_seconds=gx10.drain_timeout_seconds + gx10.stop_timeout_seconds + 90,
    )
    texts = closure(description.project, "gang.supervisor")
    configured["digest"] = digest({"configuration": configured, "programs": texts})
    return (
        File(f"{UNITS}/{GANG_UNIT}", unit),
        File(SUPERVISOR_FILE, (json.dumps(configured, indent=1) + "\n").encode()),
    )


def gang_files(description: Description, host: str) -> tuple[File, ...]:
    """Every file of the gang on a host, its supervisor's last."""
    engine = engine_files(description) if host == description.cluster.head else ()
    return (*ray_files(description, host), *engine, *supervisor_files(description, host))


def gang_units(cluster: Cluster, host: str) -> tuple[str, ...]:
    """Units of the gang on a host: its parts in the order in which they start, and what supervises them."""
    engine = (ENGINE_UNIT,) if host == cluster.head else ()
    return (ray_unit(cluster, host), *engine, GANG_UNIT)


def supervisor_digest(description: Description, host: str) -> str:
    """What a supervisor that runs as described has written into its marker."""
    told: dict[str, str] = json.loads(supervisor_files(description, host)[1].content)
    return told["digest"]


@once
def configuration(description: Description) -> str:
    """Digest of the image's inputs and of every file of the gang on every host: all but the weights."""
    files = {
        f"{host} {file.path}": file.content.decode()
        for host in description.cluster.hosts
        for file in ray_files(description, host)
    }
    files |= {file.path: file.content.decode() for file in engine_files(description)}
    return digest({"files": files, "image": description.inputs.digest})


def _engine_run(description: Description, argv: tuple[str, ...]) -> str:
    """The engine's container, as a unit runs it."""
    cluster = description.cluster
    options = units.container_options(cluster, cluster.head, units.ENGINE_CONTAINER, ENGINE_ENVIRONMENT)
    options += ["--pid", f"container:{units.RAY_CONTAINER}"]
    lines = [
        f"/usr/bin/docker run {_lines(options)}",
        f"--label {units.GENERATION_LABEL}=${{GX10_GENERATION}}",
        f"--label {units.LIFE_LABEL}=${{GX10_LIFE}}",
        f"--env {units.RANK_VARIABLE}=${{GX10_GENERATION}}.${{GX10_LIFE}}",
        description.image_reference,
        _lines(argv),
    ]
    return " \\\n    ".join(lines)


def _lines(words: list[str] | tuple[str, ...]) -> str:
    """Words of a command, one option with its values a line, as a unit continues lines."""
    lines: list[list[str]] = []
    for word in words:
        if word.startswith("-") or not lines:
            lines.append([])
        lines[-1].append(units.unit_word(word))
    return " \\\n    ".join(" ".join(line) for line in lines)

"""Guards of recipe and cluster together: GPUs, hosts, ports, weights and mods."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gx10.settings import Cluster, Image, Problem

from ..vllm.flags import PARALLEL_SIZES
from ..vllm.mods import MODS, known_mods, mod_name
from ..vllm.splits import MUST_DIVIDE, in_words, products
from ..vllm.values import closest
from .ceilings import memory_problems
from .kernels import kernel_problems
from .subject import Served

#: Flags that give one host its place; on Ray every host gets its place from Ray.
OF_ONE_HOST = ("nnodes", "node_rank", "master_addr", "headless", "data_parallel_rank", "data_parallel_address")


def placement_problems(served: Served, cluster: Cluster, cluster_file: str) -> Iterator[Problem]:
    """Everything that can only be judged when it is known where the recipe runs."""
    yield from _host_count(served, cluster, cluster_file)
    yield from _world_size(served, cluster)
    yield from _executor(served, cluster)
    yield from _port(served, cluster)
    yield from _weights(served, cluster)
    yield from memory_problems(served, cluster, cluster_file)
    yield from kernel_problems(served, cluster)


def mod_problems(served: Served, project: Path) -> Iterator[Problem]:
    """Mods that nobody has."""
    known = known_mods(project)
    for index, mod in enumerate(served.recipe.mods):
        if (name := mod_name(mod)) not in known:
            near = closest(name, known)
            remedy = f"Did you mean {near}?" if near else f"Use one of: {', '.join(sorted(known))}."
            remedy += f" A mod of spark-vllm-docker's form is put into {MODS} as a directory with its run.sh."
            yield Problem(served.file, f"mods.{index}", repr(mod), "there is no such mod", remedy)


def image_problems(served: Served, image: Image, image_file: str) -> Iterator[Problem]:
    """Mods that the recipe counts on and the image does not bring."""
    baked = {mod_name(mod) for mod in image.mods}
    for index, mod in enumerate(served.recipe.mods):
        if mod_name(mod) not in baked:
            yield Problem(
                served.file,
                f"mods.{index}",
                repr(mod),
                f"{image_file} does not bake this mod into the image",
                f"Add {mod_name(mod)} under mods in {image_file}.",
                "on a host without it the flag is unknown, or worse, silently ignored",
            )


def _host_count(served: Served, cluster: Cluster, cluster_file: str) -> Iterator[Problem]:
    count = len(cluster.hosts)
    if served.recipe.solo_only and count > 1:
        rule = f"{served.file} says solo_only: it runs on one host, and the cluster has {count}"
        remedy = "Choose a recipe for a cluster, or describe one host."
        yield Problem(cluster_file, "recipe", repr(cluster.recipe), rule, remedy)
    if served.recipe.cluster_only and count == 1:
        rule = f"{served.file} says cluster_only: it needs more than one host, and the cluster has one"
        remedy = "Choose a recipe for one host, or add hosts."
        yield Problem(cluster_file, "recipe", repr(cluster.recipe), rule, remedy)
    if served.recipe.solo_only and served.recipe.cluster_only:
        rule = "solo_only and cluster_only exclude each other"
        yield Problem(served.file, "solo_only", "true", rule, "Keep one of them.")


def _world_size(served: Served, cluster: Cluster) -> Iterator[Problem]:
    gpus, wanted = len(cluster.hosts) * cluster.ray.gpus, served.command.world_size
    if wanted == gpus or served.command.faulty(*PARALLEL_SIZES):
        return
    tensor = served.command.value("tensor_parallel_size", 1)
    pipeline = served.command.value("pipeline_parallel_size", 1)
    dest = "tensor_parallel_size" if "pipeline_parallel_size" not in served.command else "pipeline_parallel_size"
    yield served.problem(
        dest,
        f"tensor {tensor} x pipeline {pipeline} needs {wanted} GPUs in all, and the cluster has {gpus} "
        f"({len(cluster.hosts)} hosts x {cluster.ray.gpus})",
        f"Make the product {gpus}: tensor x pipeline as {in_words(products(gpus))}, as far as the model can be split: "
        f"{MUST_DIVIDE}.",
        "with too few the engine waits for half an hour; with too many a host serves nothing",
    )


def _executor(served: Served, cluster: Cluster) -> Iterator[Problem]:
    if len(cluster.hosts) == 1:
        return
    dest = "distributed_executor_backend"
    if served.command.value(dest) != "ray" and not served.command.faulty(dest):
        yield served.problem(
            dest,
            f"the ranks run on {len(cluster.hosts)} hosts, which Ray brings together",
            "Write --distributed-executor-backend ray.",
            "without it the engine looks for every GPU on the head",
        )
    for dest in OF_ONE_HOST:
        if dest in served.command:
            rule = "one command serves all hosts, so it cannot hold what belongs to one of them"
            yield served.problem(dest, rule, f"Remove {served.command.shown(dest)}: Ray gives each rank its place.")


def _port(served: Served, cluster: Cluster) -> Iterator[Problem]:
    command, ports = served.command, cluster.ray.ports
    if "uds" in command:
        rule = "the API listens on a port, which health checks and clients use"
        yield served.problem("uds", rule, "Remove --uds, and write --port.")
    port = command.value("port", 8000)
    taken = {taken: key for key, taken in cluster.bound_ports.items()}
    taken |= {ports.worker_min: "ray.ports.worker_min", ports.worker_max: "ray.ports.worker_max"}
    by = taken.get(port)
    if by is None and ports.worker_min <= port <= ports.worker_max:
        by = f"the range from ray.ports.worker_min to worker_max ({ports.worker_min} to {ports.worker_max})"
    if by is not None:
        yield served.problem(
            "port", f"the engine's port is taken by {by}", "Give the engine another port, such as 8000."
        )
    elif not 1024 <= port <= 65535:
        yield served.problem("port", "a port lies between 1024 and 65535", "Write 8000.")


def _weights(served: Served, cluster: Cluster) -> Iterator[Problem]:
    model, found = served.recipe.gx10.model, served.command.model
    if model is None:
        yield Problem(
            served.file,
            "gx10.model",
            "nothing",
            f"the command serves {found or 'no model'}, and nothing says which directory below the model root holds it",
            "Add gx10.model.path, and write {model_path} as the model in the command.",
            "the engine runs offline: weights are put on every host before it starts",
        )
    elif found != str(cluster.container.model_mount / model.path):
        yield Problem(
            served.file,
            "command",
            found or "no model",
            f"the weights appear in the containers as {cluster.container.model_mount / model.path}",
            "Write {model_path} as the first word after `vllm serve`.",
        )

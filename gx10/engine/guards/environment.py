"""Guards of the environment: names vLLM knows, values that belong to each host, and secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gx10.settings import Cluster, Problem, Recipe
from gx10.settings.secrets import HIDDEN, holds_secret, names_secret, shown

from ..vllm.catalogue import VLLM_VERSION, catalogue
from ..vllm.render import OFFLINE
from ..vllm.values import closest

#: Variables that vLLM no longer heeds, or soon will not: why, and what to write instead.
REMOVED = {
    "VLLM_FLASHINFER_MOE_BACKEND": (
        "vLLM 0.23 removed it, and from 0.22 on the flag decides",
        "Write --moe-backend into the command, such as --moe-backend flashinfer_cutlass.",
    ),
    "VLLM_ATTENTION_BACKEND": (
        "vLLM replaced it by a flag and ignores it",
        "Write --attention-backend into the command.",
    ),
    "VLLM_USE_V1": ("there is one engine since vLLM 0.11, and no variable chooses it", "Remove it."),
}

#: Variables that differ from host to host: the engine would copy one host's value to every rank.
OF_EACH_HOST = {
    "VLLM_HOST_IP": "hosts.NAME.fabric",
    "RAY_ADDRESS": "head",
    "RAY_NODE_IP_ADDRESS": "hosts.NAME.fabric",
    "RAY_OVERRIDE_NODE_IP_ADDRESS": "hosts.NAME.fabric",
    "NCCL_SOCKET_IFNAME": "networks.fabric",
    "GLOO_SOCKET_IFNAME": "networks.fabric",
    "TP_SOCKET_IFNAME": "networks.fabric",
    "UCX_NET_DEVICES": "networks.fabric",
    "MN_IF_NAME": "networks.fabric",
    "OMPI_MCA_btl_tcp_if_include": "networks.fabric",
    "NCCL_IB_HCA": "networks.fabric",
    "CUDA_VISIBLE_DEVICES": "ray.gpus",
}

#: Variables that open the engine to anybody who can reach its port.
UNSAFE = {
    "VLLM_SERVER_DEV_MODE": "it opens endpoints that reset the cache and put the engine to sleep, without a key",
    "VLLM_ALLOW_INSECURE_SERIALIZATION": "it lets whoever reaches the engine run code in it",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "it lets whoever reaches the port load adapters from any path",
}
OFF = frozenset({"", "0", "false"})


def recipe_environment_problems(recipe: Recipe, file: str) -> Iterator[Problem]:
    """Problems of the recipe's environment."""
    for key, variables in (("env", recipe.env), ("gx10.environment", recipe.gx10.environment)):
        yield from _problems(variables, key, file)
        for name in sorted(variables.keys() & OFFLINE.keys()):
            if variables[name] != OFFLINE[name]:
                rule = "the engine never asks a hub: weights are on every host before it starts"
                yield Problem(file, f"{key}.{name}", repr(variables[name]), rule, "Remove it.")
    for name in sorted(recipe.env.keys() & recipe.gx10.environment.keys()):
        if recipe.env[name] != recipe.gx10.environment[name]:
            rule = f"env.{name} says {shown(name, recipe.env[name])}"
            found = shown(name, recipe.gx10.environment[name])
            yield Problem(file, f"gx10.environment.{name}", found, rule, "Keep one of them.")


def cluster_environment_problems(cluster: Cluster, file: str) -> Iterator[Problem]:
    """Problems of the environment that the cluster file adds to the Ray containers."""
    yield from _problems(cluster.ray.environment, "ray.environment", file)


def _problems(variables: Mapping[str, str], key: str, file: str) -> Iterator[Problem]:
    known = catalogue().names["environment"]
    for name, value in variables.items():
        at = f"{key}.{name}"
        if names_secret(name) or holds_secret(value):
            rule = "a secret never stands in a description"
            remedy = "Keep it in a file that only root reads on the head, and remove it here."
            reason = "the environment of a container is shown by docker inspect, and copied to every rank in clear text"
            yield Problem(file, at, HIDDEN, rule, remedy, reason)
        elif name in REMOVED:
            why, remedy = REMOVED[name]
            yield Problem(file, at, repr(value), why, remedy)
        elif name in OF_EACH_HOST:
            rule = f"this differs from host to host and follows from {OF_EACH_HOST[name]} in the cluster file"
            reason = "the engine copies its environment to the ranks on all hosts"
            yield Problem(file, at, repr(value), rule, f"Remove it, and check {OF_EACH_HOST[name]}.", reason)
        elif name in UNSAFE and value.lower() not in OFF:
            yield Problem(file, at, repr(value), UNSAFE[name], "Remove it.")
        elif name.startswith("VLLM_") and name not in known:
            near = closest(name, known)
            remedy = f"Did you mean {near}?" if near else "Remove it."
            yield Problem(file, at, repr(value), f"vLLM {VLLM_VERSION} has no such variable and ignores it", remedy)

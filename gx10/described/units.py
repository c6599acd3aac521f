"""Cluster and recipe -> the exact container command lines and environments that the units run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gx10.settings import Cluster
from gx10.settings.base import holds_control

RAY_CONTAINER = "gx10-ray"
ENGINE_CONTAINER = "gx10-engine"
GENERATION_LABEL = "gx10.generation"
LIFE_LABEL = "gx10.life"
RANK_VARIABLE = "GX10_RANK_OF"
"""Environment of every process of a rank: GENERATION.NUMBER of its life."""
RAY_RUNTIME_DIRECTORY = "gx10-ray"
RPC_RUNTIME_DIRECTORY = f"{RAY_RUNTIME_DIRECTORY}/vllm-rpc"
GIB = 2**30

SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=:,./@{}[]")


def unit_text(text: str) -> str:
    """A text as systemd reads it in Description=: one line, `%` doubled. Raises ValueError for a line's end in it."""
    if holds_control(text):
        raise ValueError(f"{text!a} holds a line's end or a control character, so it cannot stand in a unit")
    return text.replace("%", "%%")


def unit_word(word: str) -> str:
    """One argument as systemd reads it in ExecStart=: `%` and `$` doubled, quoted where it holds anything unusual.

    Raises ValueError for a line's end or a control character: the recipe's check refuses those with a sentence.
    """
    if holds_control(word):
        raise ValueError(f"{word!a} holds a line's end or a control character, so it cannot stand in a unit")
    doubled = word.replace("%", "%%").replace("$", "$$")
    if word and set(word) <= SAFE:
        return doubled
    escaped = doubled.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if "'" in escaped else "'" + doubled.replace("\\", "\\\\") + "'"


def unit_words(words: Iterable[str]) -> tuple[str, ...]:
    """Arguments as systemd reads them."""
    return tuple(unit_word(word) for word in words)


def ray_environment(cluster: Cluster, host: str) -> dict[str, str]:
    """Environment of a host's Ray container, and so of the rank in it.

    The engine copies its own environment to its ranks only where it is not set, so what differs between hosts, and
    what keeps traffic on the fabric, belongs here.
    """
    address = cluster.hosts[host].address
    rails = cluster.networks.fabric
    interface = rails[0].interface
    rdma = [rail.rdma_device for rail in rails if rail.rdma_device]
    environment = {
        "VLLM_HOST_IP": address,
        "RAY_NODE_IP_ADDRESS": address,
        "RAY_OVERRIDE_NODE_IP_ADDRESS": address,
        "MN_IF_NAME": interface,
        "UCX_NET_DEVICES": interface,
        "NCCL_SOCKET_IFNAME": interface,
        "GLOO_SOCKET_IFNAME": interface,
        "TP_SOCKET_IFNAME": interface,
        "OMPI_MCA_btl_tcp_if_include": interface,
        "NCCL_IB_DISABLE": "0" if rdma else "1",
        "NCCL_IGNORE_CPU_AFFINITY": "1",
        # Ray would kill ranks at 95 % of the memory, where a model on unified memory lives.
        "RAY_memory_monitor_refresh_ms": "0",
        # Raylets of a lost head hold the model's memory until they give up, 60 s by default.
        "RAY_gcs_rpc_server_reconnect_timeout_s": str(cluster.ray.reconnect_timeout_seconds),
        "RAY_num_prestart_python_workers": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }
    if rdma:
        environment["NCCL_IB_HCA"] = ",".join(rdma)
    return environment | cluster.ray.environment


def engine_environment(cluster: Cluster, recipe: Mapping[str, str]) -> dict[str, str]:
    """Environment of the engine's container: the recipe's, and how it finds Ray and its own sockets."""
    return {
        **recipe,
        "VLLM_HOST_IP": cluster.head_address,
        "RAY_ADDRESS": f"{cluster.head_address}:{cluster.ray.ports.gcs}",
        "RAY_USAGE_STATS_ENABLED": "0",
        # The driver's and rank 0's sockets must be in a directory that both containers see.
        "VLLM_RPC_BASE_PATH": "/tmp/ray/vllm-rpc",  # noqa: S108 - Ray's own fixed directory inside the container
    }


def container_options(cluster: Cluster, host: str, name: str, environment_file: str) -> list[str]:
    """Options of `docker run` that Ray's and the engine's containers share."""
    container = cluster.container
    options = [
        "--rm", "--init", "--name", name, "--network", "host", "--ipc", "host",
        "--ulimit", f"nofile={container.nofile}:{container.nofile}",
        # Locked memory for RDMA, memory placement for the ranks, weights that another user owns. Nothing else.
        "--cap-drop", "ALL", "--cap-add", "IPC_LOCK", "--cap-add", "SYS_NICE", "--cap-add", "DAC_OVERRIDE",
        "--security-opt", "no-new-privileges",
        "--env-file", environment_file,
        "--volume", f"/run/{RAY_RUNTIME_DIRECTORY}:/tmp/ray",
        "--volume", f"{cluster.paths.model_root}:{container.model_mount}:ro",
        "--label", f"gx10.cluster={cluster.name}", "--label", f"gx10.host={host}",
        "--label", f"gx10.container={name}",
    ]  # fmt: skip
    if container.memory_cap_gib is not None:
        cap = str(round(container.memory_cap_gib * GIB))
        options += ["--memory", cap, "--memory-swap", cap]  # the same: nothing of a rank is swapped
    if container.memlock_unlimited:
        options += ["--ulimit", "memlock=-1:-1"]
    if container.runtime:
        options += ["--runtime", container.runtime, "--gpus", "all"]
    for device in container.devices:
        options += ["--device", str(device)]
    return options


def ray_start(cluster: Cluster, host: str) -> list[str]:
    """The command in a host's Ray container; it stays in the foreground and ends when any of Ray's parts does."""
    ports = cluster.ray.ports
    head = host == cluster.head
    role = (
        ["--head", "--port", str(ports.gcs), "--ray-client-server-port", str(ports.client), "--include-dashboard=false"]
        if head
        else ["--address", f"{cluster.head_address}:{ports.gcs}"]
    )
    return [
        "ray", "start", "--block", *role,
        "--node-ip-address", cluster.hosts[host].address,
        "--node-manager-port", str(ports.node_manager),
        "--object-manager-port", str(ports.object_manager),
        "--runtime-env-agent-port", str(ports.runtime_env_agent),
        "--dashboard-agent-grpc-port", str(ports.dashboard_agent_grpc),
        "--dashboard-agent-listen-port", str(ports.dashboard_agent_http),
        "--metrics-export-port", str(ports.metrics),
        "--min-worker-port", str(ports.worker_min), "--max-worker-port", str(ports.worker_max),
        "--num-gpus", str(cluster.ray.gpus), "--num-cpus", str(cluster.ray.cpus),
        "--object-store-memory", str(round(cluster.ray.object_store_gib * GIB)),
        "--disable-usage-stats",
    ]  # fmt: skip


def environment_file(environment: Mapping[str, str]) -> bytes:
    """A file for `docker run --env-file`: one NAME=value a line, values as they are."""
    return "".join(f"{name}={value}\n" for name, value in environment.items()).encode()

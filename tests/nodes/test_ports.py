"""Control ports answer the fabric and nobody else."""

from __future__ import annotations

from testinfra.host import Host

from gx10.engine.description import Description
from gx10.engine.host_files import SHARE_PORT


def answers(asked_from: Host, address: object, port: int) -> bool:
    """Whether a TCP connection from a host to an address and port succeeds within two seconds."""
    program = f"import socket; socket.create_connection(('{address}', {port}), timeout=2)"
    return bool(asked_from.run(f'python3 -c "{program}"').rc == 0)


def test_ray_answers_the_fabric_but_not_the_management_network(worker: Host, description: Description) -> None:
    head = description.cluster.hosts[description.cluster.head]
    ports = description.cluster.ray.ports
    assert answers(worker, head.fabric[0], ports.gcs), "the control check fails: Ray must answer on the fabric"
    for port in (ports.gcs, ports.node_manager, ports.object_manager, ports.dashboard_agent_grpc, ports.metrics):
        assert not answers(worker, head.management, port), f"port {port} of Ray answers on the management network"


def test_share_is_bound_to_the_fabric(node: Host, name: str, description: Description) -> None:
    addresses = description.cluster.hosts[name].fabric
    listening = [line.split()[3] for line in node.check_output("ss -Htln").splitlines()]
    shared = {entry for entry in listening if entry.endswith(f":{SHARE_PORT}")}
    assert shared == {f"{address}:{SHARE_PORT}" for address in addresses}


def test_engine_listens_on_the_head_only(nodes: dict[str, Host], description: Description) -> None:
    for name, node in nodes.items():
        listening = node.socket(f"tcp://0.0.0.0:{description.port}").is_listening
        assert listening == (name == description.cluster.head), name

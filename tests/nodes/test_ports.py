"""Control ports answer the fabric and nobody else."""

from __future__ import annotations

import json

from testinfra.host import Host

from gx10.described.description import Description
from gx10.settings.cluster import SHARE_PORT

ASK = """
import concurrent.futures, json, socket, sys
def answers(port):
    try:
        socket.create_connection((sys.argv[1], port), timeout=2).close()
    except OSError:
        return False
    return True
ports = json.loads(sys.argv[2])
with concurrent.futures.ThreadPoolExecutor(len(ports)) as pool:
    print(json.dumps([port for port, answered in zip(ports, pool.map(answers, ports)) if answered]))
"""


def answering(asked_from: Host, address: object, ports: list[int]) -> list[int]:
    """Ports of an address to which a TCP connection from a host succeeds within two seconds, all tried at once."""
    words = ("python3", "-c", ASK, str(address), json.dumps(ports))
    open_ports: list[int] = json.loads(asked_from.check_output(" ".join(["%s"] * len(words)), *words))
    return open_ports


def test_ray_answers_the_fabric_but_not_the_management_network(worker: Host, description: Description) -> None:
    head = description.cluster.hosts[description.cluster.head]
    ports = description.cluster.ray.ports
    asked = [ports.gcs, ports.node_manager, ports.object_manager, ports.dashboard_agent_grpc, ports.metrics]
    assert ports.gcs in answering(worker, head.address, asked), "the control check: Ray must answer on the fabric"
    assert answering(worker, head.management, asked) == [], "ports of Ray answer on the management network"


def test_share_is_bound_to_the_fabric(node: Host, name: str, description: Description) -> None:
    addresses = description.cluster.hosts[name].fabric
    listening = [line.split()[3] for line in node.check_output("ss -Htln").splitlines()]
    shared = {entry for entry in listening if entry.endswith(f":{SHARE_PORT}")}
    assert shared == {f"{address}:{SHARE_PORT}" for address in addresses}


def test_engine_listens_on_the_head_only(nodes: dict[str, Host], description: Description) -> None:
    for name, node in nodes.items():
        listening = node.socket(f"tcp://0.0.0.0:{description.port}").is_listening
        assert listening == (name == description.cluster.head), name

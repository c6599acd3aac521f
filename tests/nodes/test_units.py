"""The gang runs under systemd, from boot, as one generation."""

from __future__ import annotations

import json

from testinfra.host import Host

from gx10.described import gang_files, host_files, units
from gx10.described.description import Description


def parts(description: Description, name: str) -> dict[str, str]:
    """Units of the gang on a host with their containers."""
    found = {gang_files.ray_unit(description.cluster, name): units.RAY_CONTAINER}
    return found | ({gang_files.ENGINE_UNIT: units.ENGINE_CONTAINER} if name == description.cluster.head else {})


def test_units_run_and_start_at_boot(node: Host, name: str, description: Description) -> None:
    at_boot = [gang_files.GANG_UNIT, host_files.SHARE_UNIT, host_files.FIREWALL_UNIT]
    for unit in [*parts(description, name), *at_boot]:
        assert node.service(unit).is_running, f"{name}: {unit} does not run; see `journalctl -u {unit}`"
    for unit in at_boot:
        assert node.service(unit).is_enabled, f"{name}: {unit} does not start at boot; run the deploy again"


def test_only_the_supervisor_starts_a_rank(node: Host, name: str, description: Description) -> None:
    for unit in parts(description, name):
        told = node.check_output(f"systemctl show --property Restart,UnitFileState {unit}").splitlines()
        assert sorted(told) == ["Restart=no", "UnitFileState=static"], f"{name}: {unit} would start by itself"


def test_containers_are_of_the_described_generation(node: Host, name: str, description: Description) -> None:
    described = node.file("/etc/gx10/generation.env").content_string.strip().partition("=")[2]
    for container in parts(description, name).values():
        found = json.loads(node.check_output(f"docker container inspect {container}"))[0]
        assert found["State"]["Running"]
        assert found["Config"]["Labels"][units.GENERATION_LABEL] == described
        assert found["Config"]["Image"] == description.image_reference


def test_containers_are_not_privileged(node: Host, name: str, description: Description) -> None:
    for container in parts(description, name).values():
        found = json.loads(node.check_output(f"docker container inspect {container}"))[0]["HostConfig"]
        assert found["Privileged"] is False
        assert found["CapDrop"] == ["ALL"]
        assert found["NetworkMode"] == "host"


def test_one_life_on_all_hosts(nodes: dict[str, Host], description: Description) -> None:
    lives = {
        f"{name} {container}": json.loads(node.check_output(f"docker container inspect {container}"))[0]["Config"][
            "Labels"
        ][units.LIFE_LABEL]
        for name, node in nodes.items()
        for container in parts(description, name).values()
    }
    assert len(set(lives.values())) == 1, f"ranks of different lives: {lives}"


def test_one_generation_on_all_hosts(nodes: dict[str, Host]) -> None:
    found = {name: node.file("/etc/gx10/generation.env").content_string for name, node in nodes.items()}
    assert len(set(found.values())) == 1, f"hosts describe different generations: {found}"

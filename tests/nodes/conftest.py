"""Checks on each node of the described cluster, over ssh: `gx10 verify`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import testinfra
from testinfra.host import Host

from gx10.access.login import testinfra_arguments
from gx10.described.description import Description, described_by_environment


@pytest.fixture(scope="session")
def description() -> Description:
    """The described cluster."""
    return described_by_environment()


@pytest.fixture(scope="session")
def nodes(description: Description) -> Iterator[dict[str, Host]]:
    """A connection to every host, each opened once and shared by all checks."""
    with TemporaryDirectory(prefix="gx10-") as sockets:
        hosts = {
            name: testinfra.get_host(controlpath=str(Path(sockets, name)), **testinfra_arguments(description, name))
            for name in description.cluster.hosts
        }
        yield hosts
        for name, host in hosts.items():
            host.backend.run_local(f"ssh -o ControlPath={Path(sockets, name)} -O exit {name}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a check that asks for `name` once on each host."""
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", list(described_by_environment().cluster.hosts))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what is asked from another host than the head where there is none."""
    if not described_by_environment().cluster.workers:
        items[:] = [item for item in items if "worker" not in getattr(item, "fixturenames", ())]


@pytest.fixture
def worker(nodes: dict[str, Host], description: Description) -> Host:
    """A host that is not the head; on a cluster of one, the checks that ask for it are left out."""
    return nodes[description.cluster.workers[0]]


@pytest.fixture
def node(nodes: dict[str, Host], name: str) -> Host:
    """The host under check."""
    return nodes[name]


@pytest.fixture
def head(nodes: dict[str, Host], description: Description) -> Host:
    """The head."""
    return nodes[description.cluster.head]

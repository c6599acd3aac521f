"""The cluster's hosts as pyinfra takes them."""

from __future__ import annotations

import atexit
import sys
from typing import Any

from pyinfra.context import ctx_state

from gx10.access.access_files import missing_files
from gx10.access.login import pyinfra_data
from gx10.described.description import Description, described_by_environment
from gx10.drift.policy import run_directory
from gx10.settings import SettingsError
from gx10.weights import switch

from .invocation import USAGE, deployed_whole, whole_or_not

Hosts = list[tuple[str, dict[str, Any]]]


def groups() -> tuple[Hosts, Hosts]:
    """Head and workers of the described cluster; prints every problem and exits with 64 when it is refused."""
    try:
        description = described_by_environment()
        missing_files(description)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(USAGE) from error
    if ctx_state.isset():  # type: ignore[no-untyped-call]
        whole_or_not(ctx_state.get())  # type: ignore[no-untyped-call]
        _tell_of_a_switch(description)
    hosts = {name: pyinfra_data(description, name) for name in description.cluster.hosts}
    head = description.cluster.head
    return (
        [(f"@gx10/{head}", hosts[head])],
        [(f"@gx10/{name}", hosts[name]) for name in description.cluster.workers],
    )


def _tell_of_a_switch(description: Description) -> None:
    """Say where a switch of models was left half-way; a deploy that ends well has finished it."""
    cluster, file = description.cluster.name, description.loaded.cluster_file
    if run_directory() is not None or not (left := switch.left_half_way(cluster, file, description.cluster.recipe)):
        return
    sys.stderr.write(f"{left}\n")
    atexit.register(lambda: switch.done(cluster) if deployed_whole() else None)

"""Applied: which description this cluster was brought to last."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import deploy

from gx10.described.description import Description
from gx10.described.entries import File
from gx10.described.host_files import daemon_record
from gx10.described.live import live_question
from gx10.described.project import applied_file
from gx10.drift.classes import Drift
from gx10.operations.daemon import daemon_recorded
from gx10.operations.files import files_described


@deploy("Applied")
def applied(description: Description) -> None:
    """Note on the head what was applied, and on every host under which daemon, once all of it is and answers."""
    path, text = applied_file(description)
    files_described(
        name="Note the description that is applied",
        entries=[File(path, text)] if host.name == description.cluster.head else [],
        drift=Drift.GANG,
    )
    daemon_recorded(
        name="Note the Docker daemon under which the engine serves",
        path=daemon_record(description.cluster),
        live=live_question(description, host.name),
    )

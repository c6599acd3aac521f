"""Ray: one container a host, joined over the fabric, started and stopped with the gang by its supervisors."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import deploy

from gx10.described import gang_files
from gx10.described.description import Description
from gx10.described.live import live_question
from gx10.drift.classes import Drift
from gx10.operations.files import files_described
from gx10.operations.gang import former_head_drained, generation_described, supervisor_current
from gx10.operations.handed import described_gang
from gx10.operations.system import units_enabled


@deploy("Ray")
def ray(description: Description) -> None:
    """Describe the gang's units, and have its supervisors run on every host; they start what may be started."""
    gx10 = description.recipe.gx10
    former_head_drained(
        name="Let a former head end its requests",
        gang=described_gang(description),
        unit=gang_files.ENGINE_UNIT,
        drain_seconds=gx10.drain_timeout_seconds,
        # Also for a supervisor whose own stop takes as long as its recipe allows.
        stop_seconds=gx10.stop_timeout_seconds + 90,
    )
    files_described(
        name="Write the units of the gang", entries=gang_files.gang_files(description, host.name), drift=Drift.GANG
    )
    # After the files it stands for: a run that dies in between never leaves half of them under the new name.
    generation_described(name="Write the digest of the described generation", gang=described_gang(description))
    units_enabled(name="Start the gang at boot", units=[gang_files.GANG_UNIT])
    supervisor_current(
        name="Run the gang's supervisor as described",
        unit=gang_files.GANG_UNIT,
        digest=gang_files.supervisor_digest(description, host.name),
        live=live_question(description, host.name),
    )

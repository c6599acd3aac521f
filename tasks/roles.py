"""Roles: what a host holds for one that it no longer has goes; which hosts the cluster has had is noted."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import deploy

from gx10.described.description import Description
from gx10.described.live import live_question
from gx10.described.roles import gang_remains, reconciler_remains
from gx10.drift.classes import Drift
from gx10.operations.members import former_programs_left, gone_told, members_noted
from gx10.operations.remains import role_left


@deploy("Roles")
def former_roles(description: Description) -> None:
    """Remove what is left of former roles, once the described ones are in place and the gang serves."""
    role_left(
        name="Remove what is left of a former role in the gang",
        remains=gang_remains(description, host.name),
        drift=Drift.GANG,
    )
    role_left(
        name="Remove what is left of a former reconciler",
        remains=reconciler_remains(description, host.name),
    )
    former_programs_left(
        name="Remove programs of an earlier version",
        description=description,
        live=live_question(description, host.name),
    )
    members_noted(name="Note which hosts the cluster has had", description=description)
    gone_told(name="Tell which hosts are no longer described", description=description)

"""Everything that this package may have put on a host, in whatever role: what a retirement removes, and what it leaves.

Listed from the same functions that describe hosts, for the paths that the host was last described with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from gx10_host.content.manifest import PARTIAL, PROVEN, RECEIVED

from . import gang_files, host_files, units
from .description import Description
from .image_inputs import LABEL
from .members import Member
from .roles import Family, Remains, fallbacks, gang_parts, reconciler_everything, unit_drop_ins

FORMER_PROGRAMS = f"/{host_files.FORMER_PROGRAMS}"
RUN = "/run/gx10"
TABLE = "inet gx10"
STATE_FILES = ("applied.json", "suspended.json", "hosts.json", "transfers.json", "images-used.json")
UNFINISHED = f"({re.escape(PARTIAL)}|{re.escape(RECEIVED)})?"
SYSCTLS = "/etc/sysctl.d/90-gx10.conf"


def everything(description: Description, member: Member, former: Iterable[str] = ()) -> Remains:
    """All of it, with programs of earlier versions.

    Units stand in the order in which they are stopped: the supervisor ends its rank before its parts go.
    """
    watch, parts = reconciler_everything(member.metrics), gang_parts(description)
    gang = "/var/lib/gx10/gang"
    return Remains(
        units=(*watch.units, gang_files.GANG_UNIT, *parts, host_files.SHARE_UNIT, host_files.FIREWALL_UNIT),
        files=(
            *watch.files,
            *(path for unit in parts for path in unit_drop_ins(unit)),
            *(gang_files.RAY_ENVIRONMENT, gang_files.ENGINE_ENVIRONMENT, gang_files.GENERATION_FILE),
            *(gang_files.SUPERVISOR_FILE, "/etc/gx10/images.json", "/etc/gx10/share.conf", "/etc/gx10/firewall.nft"),
            SYSCTLS,
            *host_files.programs(description),
            *former,
            *(f"{member.state}/{name}" for name in STATE_FILES),
            f"{member.archive}/{PROVEN}",
        ),
        families=(
            *watch.families,
            fallbacks(),
            Family(f"{member.archive}/images", rf".+\.json{UNFINISHED}", "file"),
            Family(f"{member.archive}/blobs/sha256", rf"[0-9a-f]{{64}}{UNFINISHED}", "file"),
        ),
        trees=(*watch.trees, f"{FORMER_PROGRAMS}/__pycache__", gang, f"{member.state}/build"),
        directories=(
            *watch.directories,
            *(f"/run/systemd/system/{unit}.d" for unit in parts),
            "/etc/gx10",
            *reversed(host_files.program_directories(description)),
            FORMER_PROGRAMS,
            *(f"{member.archive}/images", f"{member.archive}/blobs/sha256", f"{member.archive}/blobs", member.archive),
            *dict.fromkeys((member.state, "/var/lib/gx10")),
            member.model_root,
        ),
        user=watch.user,
        home=watch.home,
    )


def beside(description: Description, member: Member) -> dict[str, Any]:
    """What a host is asked beside it: what is no file of ours, or lies in one of somebody else's."""
    return {
        "login": description.cluster.access.user,
        "hosts": "/etc/hosts",
        "table": TABLE,
        "label": LABEL,
        "containers": [units.RAY_CONTAINER, units.ENGINE_CONTAINER],
        "engine": gang_files.ENGINE_UNIT,
        "archive": member.archive,
        "model_root": member.model_root,
    }


def models_policy(member: Member, named: tuple[str, ...] = ()) -> dict[str, Any]:
    """The clean-up's policy for exactly these directories below the model root."""
    return {
        "root": member.model_root, "mount": False, "keep": [], "keep_caches": [], "known": [], "bypassed": {},
        "kinds": [], "named": list(named), "stale_hours": 0,
    }  # fmt: skip

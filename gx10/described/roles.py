"""What a host holds for the roles that it has, and what may still stand there for one that it had.

Head, worker and the reconciler's host are roles that move. What moves away leaves files behind which nobody describes
any more: they are listed here from what describes the roles, path by path, so that a removal touches nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from . import gang_files, watch_files
from .description import Description
from .host_files import UNITS

RUN_UNITS = "/run/systemd/system"
OURS = "/usr/local/lib/gx10"
"""Begins a path in every unit of the gang, of this version and of earlier ones: a unit of the same name without it is
somebody else's."""
MOST_FALLBACKS = 99
STAMP = f"/var/lib/systemd/timers/stamp-{watch_files.TIMER}"
"""Where systemd keeps when a persistent timer ran last."""
METRICS = "gx10_reconcile.prom"


@dataclass(frozen=True)
class Family:
    """Entries of a directory whose names are counted or digested by this package."""

    directory: str
    pattern: str
    """What the whole name matches; a slash cannot stand in it."""
    kind: Literal["file", "directory"]
    kept: tuple[str, ...] = ()
    """Names that stay."""

    def __post_init__(self) -> None:
        if "/" in self.pattern:
            raise ValueError(f"a name is matched, and {self.pattern} would be taken for a path")


def fallbacks(*kept: str) -> Family:
    """Drop-ins of a ladder's rungs."""
    return Family("/etc/gx10", r"fallback-[1-9][0-9]?\.conf", "file", kept)


def environments(*kept: str) -> Family:
    """The reconciler's environments, each named by its lock."""
    return Family(watch_files.ROOT, r"env-[0-9a-f]{12}", "directory", kept)


@dataclass(frozen=True)
class Remains:
    """What may stand on a host, by how it is removed."""

    units: tuple[str, ...] = ()
    """Units of this package's own names: stopped, disabled, and their files removed."""
    files: tuple[str, ...] = ()
    """Plain files."""
    families: tuple[Family, ...] = ()
    """Files and directories with counted names."""
    trees: tuple[str, ...] = ()
    """Directories that only this package writes into: removed with all that is in them."""
    directories: tuple[str, ...] = ()
    """Directories that are removed when nothing is left in them, the inner ones first."""
    user: str = ""
    """A system user that this package made, removed with its home."""
    home: str = ""

    def question(self) -> dict[str, Any]:
        """The same as the probe `remains` and the program that removes take it."""
        return {
            "units": list(self.units),
            "files": list(self.files),
            "families": {
                f"{family.directory}/{family.pattern}": {"kind": family.kind, "kept": list(family.kept)}
                for family in self.families
            },
            "trees": list(self.trees),
            "directories": list(self.directories),
            "user": self.user,
            "home": self.home,
            "ours": OURS,
        }


def gang_parts(description: Description) -> tuple[str, ...]:
    """Units of the gang's parts in every role that a host can have."""
    cluster = description.cluster
    head, worker = gang_files.ray_unit(cluster, cluster.head), gang_files.ray_unit(cluster, "")
    return (gang_files.ENGINE_UNIT, head, worker)


def unit_drop_ins(unit: str) -> tuple[str, ...]:
    """Drop-ins that a supervisor writes for a unit."""
    names = (gang_files.LIFE_DROP_IN, gang_files.FALLBACK_DROP_IN)
    return tuple(f"{RUN_UNITS}/{unit}.d/{name}" for name in names)


def gang_remains(description: Description, name: str) -> Remains:
    """What a host may hold of the gang for a role that it does not have now."""
    cluster = description.cluster
    head = name == cluster.head
    here = {gang_files.ray_unit(cluster, name), *([gang_files.ENGINE_UNIT] if head else [])}
    units = tuple(unit for unit in gang_parts(description) if unit not in here)
    state = str(cluster.paths.state)
    of_the_head = (
        gang_files.ENGINE_ENVIRONMENT,
        f"{state}/applied.json",
        "/var/lib/gx10/gang/metrics/gx10_gang.prom",
    )
    rungs = len(description.checked.fallbacks) if head else 0
    kept = tuple(gang_files.fallback_path(number).rpartition("/")[2] for number in range(1, rungs + 1))
    return Remains(
        units=units,
        files=(*(path for unit in units for path in unit_drop_ins(unit)), *(() if head else of_the_head)),
        families=(fallbacks(*kept),),
        directories=tuple(f"{RUN_UNITS}/{unit}.d" for unit in units),
    )


def reconciler_everything(metrics: str) -> Remains:
    """What the reconciler has on its host, which only it has. `metrics` is where node_exporter reads."""
    return Remains(
        units=(watch_files.TIMER, watch_files.SERVICE, watch_files.FAILED),
        files=(
            watch_files.COMMAND,
            watch_files.KNOWN_HOSTS,
            watch_files.ARCHIVE,
            watch_files.RESTORED,
            STAMP,
            f"{metrics}/{METRICS}",
        ),
        families=(environments(),),
        trees=(watch_files.PROJECT,),
        directories=(f"{watch_files.ROOT}/bin", watch_files.ROOT),
        user=watch_files.USER,
        home=watch_files.HOME,
    )


def reconciler_remains(description: Description, name: str) -> Remains:
    """What a host may hold of the reconciler that does not belong there now: all of it, or earlier environments."""
    reconcile = description.cluster.reconcile
    if reconcile.enabled and name == watch_files.node(description):
        own = watch_files.environment(description)[0].rpartition("/")[2]
        return Remains(families=(environments(own),))
    return reconciler_everything(str(reconcile.metrics))


def removed_paths(description: Description, name: str) -> set[str]:
    """Paths that a removal names, for whoever else tells of files that nobody described."""
    paths: set[str] = set()
    for remains in (gang_remains(description, name), reconciler_remains(description, name)):
        paths |= {*remains.files, *(f"{UNITS}/{unit}" for unit in remains.units)}
    return paths | {gang_files.fallback_path(number) for number in range(1, MOST_FALLBACKS + 1)}

"""Which hosts the cluster has had: those that are described, and those that are not any more and were never retired.

Every host keeps the same record, so that it outlives the loss of any, the head's too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .description import Description
from .host_files import FORMER_PROGRAMS, PROGRAMS
from .host_files import programs as host_programs

LIBRARY = PROGRAMS.rpartition("/")[0]
PROGRAM = re.compile(r"(gx10_host/([a-z_]+/)?)?[a-z_]+\.py")
"""A module of the hosts' package, or the name of a program of the versions before it: what a record says otherwise
leads to no path."""


@dataclass(frozen=True)
class Member:
    """A host as the last deploy that described it knew it."""

    management: str
    fabric: tuple[str, ...]
    state: str
    archive: str
    model_root: str
    metrics: str

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Member:
        """A member as it stands in a record; raises LookupError, TypeError or ValueError where it is none."""
        texts = {name: told[name] for name in ("management", "state", "archive", "model_root", "metrics")}
        fabric = tuple(told["fabric"])
        if not all(isinstance(text, str) and text for text in (*texts.values(), *fabric)):
            raise ValueError("a member's addresses and paths are texts")
        return cls(fabric=fabric, **texts)

    def at(self, management: str) -> Member:
        """The same at another address."""
        return replace(self, management=management)


@dataclass(frozen=True)
class Members:
    """The record. Of two, the one with the higher serial is the newer."""

    serial: int = 0
    hosts: dict[str, Member] = field(default_factory=dict)
    programs: frozenset[str] = frozenset()
    """Names of all programs that this package has ever put on hosts: one of another version is known by that."""

    @classmethod
    def newest(cls, records: Iterable[object]) -> Members:
        """The newest of what hosts keep; what cannot be read says nothing."""
        found = [cls()]
        for record in records:
            if not isinstance(record, dict):
                continue
            try:
                hosts = {str(name): Member.read(told) for name, told in record["hosts"].items()}
                programs = frozenset(str(name) for name in record.get("programs", ()) if PROGRAM.fullmatch(str(name)))
                found.append(cls(int(record["serial"]), hosts, programs))
            except (AttributeError, LookupError, TypeError, ValueError):
                continue
        return max(found, key=lambda members: (members.serial, members.text()))

    def with_described(self, description: Description) -> Members:
        """The record once these hosts are described: one that only got another name is not gone."""
        described = {name: member(description, name) for name in description.cluster.hosts}
        addresses = {each.management for each in described.values()}
        others = {name: each for name, each in self.hosts.items() if each.management not in addresses}
        kept = {name: each for name, each in others.items() if name not in described}
        names = self.programs | program_names(description)
        return self._changed({**kept, **described}, names)

    def without(self, *names: str) -> Members:
        """The record once hosts are retired or forgotten."""
        kept = {name: each for name, each in self.hosts.items() if name not in names}
        return self._changed(kept, self.programs)

    def gone(self, description: Description) -> dict[str, Member]:
        """Hosts that are not described any more."""
        told = self.with_described(description)
        return {name: each for name, each in told.hosts.items() if name not in description.cluster.hosts}

    def text(self) -> bytes:
        """As it stands on hosts."""
        hosts = {name: asdict(each) for name, each in sorted(self.hosts.items())}
        told = {"serial": self.serial, "hosts": hosts, "programs": sorted(self.programs)}
        return (json.dumps(told, indent=1) + "\n").encode()

    def former_programs(self, description: Description) -> tuple[str, ...]:
        """Paths of programs that an earlier version put on hosts and this one does not have."""
        former = sorted(self.programs - program_names(description))
        return tuple(f"/{LIBRARY}/{name}" if "/" in name else f"/{FORMER_PROGRAMS}/{name}" for name in former)

    def _changed(self, hosts: dict[str, Member], programs: frozenset[str]) -> Members:
        same = (hosts, programs) == (self.hosts, self.programs)
        return self if same else Members(self.serial + 1, hosts, programs)


def program_names(description: Description) -> frozenset[str]:
    """Modules of the package that hosts get, by their paths below where it lies."""
    library = f"/{LIBRARY}/"
    return frozenset(path.removeprefix(library) for path in host_programs(description) if path.startswith(library))


def member(description: Description, name: str) -> Member:
    """A described host as the record keeps it."""
    cluster = description.cluster
    host = cluster.hosts[name]
    return Member(
        management=str(host.management),
        fabric=tuple(str(address) for address in host.fabric),
        state=str(cluster.paths.state),
        archive=str(cluster.paths.archive),
        model_root=str(cluster.paths.model_root),
        metrics=str(cluster.reconcile.metrics),
    )


def members_file(description: Description) -> str:
    """Where every host keeps the record."""
    return f"{description.cluster.paths.state}/hosts.json"

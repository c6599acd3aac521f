"""Everything that the deploy puts on a host, object by object, with the class that a touched one is found in.

Operations are handed the same objects by the tasks; a test holds both together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from gx10_host import ENTRY

from gx10.drift.classes import Drift

from . import gang_files, host_files, watch_files
from .description import Description, once
from .entries import Directory, File
from .project import applied_file, deployed_files, project_archive

TITLE = "gx10"
"""What the marks around lines in files of other people say."""
HOSTS_FILE = "/etc/hosts"
AUTHORIZED_KEYS = "authorized_keys"
HEADLESS_TARGET = "multi-user.target"
OPERATORS_GROUP = "docker"


class Kind(StrEnum):
    """What an object is."""

    FILE = "file"
    DIRECTORY = "directory"
    TREE = "tree"
    """A directory that is whole or not: the reconciler's environment."""
    UNIT = "unit"
    TIMER = "timer"
    USER = "user"
    KEY = "key"
    GROUP = "group"
    """A user's membership in a group, as `group/user`."""
    RULE = "rule"
    """A rule of the firewall's table, as nft writes it in its file."""
    PARAMETER = "parameter"
    BLOCK = "block"
    TARGET = "target"
    PACKAGE = "package"


@dataclass(frozen=True)
class Placed:
    """One object on one host."""

    kind: Kind
    name: str
    """A path, or the name under which the host knows it."""
    drift: Drift = Drift.HEAL
    """Class of what a run finds when somebody touched it."""
    content: bytes | None = None
    """What a file holds; None where only hosts know it."""
    mode: str = ""
    value: str = ""
    """A kernel parameter's value, the lines of a block, the targets that want a unit."""

    @property
    def enabled(self) -> bool:
        """Whether a unit is started at boot."""
        return self.kind in {Kind.UNIT, Kind.TIMER} and bool(self.value)


@once
def unit_names(description: Description, host: str) -> tuple[str, ...]:
    """Units and timers of this package on a host, in the order in which they start."""
    cluster = description.cluster
    own = watch_files.OWN_UNITS if _watches(description, host) else ()
    return (host_files.SHARE_UNIT, host_files.FIREWALL_UNIT, *gang_files.gang_units(cluster, host), *own)


@once
def on_host(description: Description, host: str) -> tuple[Placed, ...]:
    """Files and directories of a host beside those of the gang and of the reconciler."""
    cluster = description.cluster
    services = (host_files.share(description, host), host_files.firewall(description))
    return (
        _directory("/etc/gx10"),
        _directory(str(cluster.paths.state)),
        _directory(str(cluster.paths.archive)),
        _directory(str(cluster.paths.model_root)),
        *(_directory(path) for path in host_files.program_directories(description)),
        *(
            _file(path, text, mode="755" if path == ENTRY else "644")
            for path, text in host_files.programs(description).items()
        ),
        _file("/etc/gx10/images.json", host_files.image_policy_file(description)),
        _file(host_files.SYSCTL_FILE, host_files.sysctl_file(cluster)),
        *(_file(service.path, service.text) for service in services),
        *(_file(f"{host_files.UNITS}/{service.unit}", service.unit_text) for service in services),
    )


@once
def of_gang(description: Description, host: str) -> tuple[Placed, ...]:
    """Files of the gang on a host."""
    return tuple(
        _file(file.path, file.content, file.mode, Drift.GANG) for file in gang_files.gang_files(description, host)
    )


@once
def of_reconciler(description: Description, host: str) -> tuple[Placed, ...]:
    """Files of the reconciler on its host that are described by their content."""
    if not _watches(description, host):
        return ()
    files = (
        _file(file.path, file.content, file.mode)
        for file in watch_files.watch_files(description, project_archive(description))
    )
    return (_directory(watch_files.ROOT), _directory(f"{watch_files.ROOT}/bin"), *files)


def placed(description: Description, host: str) -> tuple[Placed, ...]:
    """Everything that the deploy puts on a host, but image and weights, which are proven by their own manifests."""
    files = [*on_host(description, host), *of_gang(description, host), *of_reconciler(description, host)]
    return (*files, *_units(description, host, files), *_settings(description), *_others(description, host))


def entries(objects: Iterable[Placed]) -> list[File | Directory]:
    """Files and directories among them, as a host's writer takes them."""
    return [
        Directory(entry.name, entry.mode)
        if entry.kind is Kind.DIRECTORY
        else File(entry.name, entry.content or b"", entry.mode)
        for entry in objects
    ]


def links(objects: tuple[Placed, ...]) -> tuple[str, ...]:
    """Links that start units at boot."""
    return tuple(
        f"{host_files.UNITS}/{target}/{entry.name}"
        for entry in objects
        if entry.enabled
        for target in entry.value.split()
    )


def _units(description: Description, host: str, files: list[Placed]) -> Iterator[Placed]:
    units = f"{host_files.UNITS}/"
    texts = {file.name: (file.content or b"").decode() for file in files if file.name.startswith(units)}
    for name in unit_names(description, host):
        text = texts[f"{host_files.UNITS}/{name}"]
        wanted = [line.partition("=")[2] for line in text.splitlines() if line.startswith("WantedBy=")]
        kind = Kind.TIMER if name.endswith(".timer") else Kind.UNIT
        # A unit is enabled and started by what heals; its text is a file, with the class of its part.
        yield Placed(kind, name, value=" ".join(f"{target}.wants" for line in wanted for target in line.split()))


def _settings(description: Description) -> Iterator[Placed]:
    cluster = description.cluster
    policy = cluster.host
    for name, value in policy.sysctls.items():
        yield Placed(Kind.PARAMETER, name, value=str(value))
    for package in policy.packages:
        yield Placed(Kind.PACKAGE, package)
    for operator in policy.operators:
        yield Placed(Kind.GROUP, f"{OPERATORS_GROUP}/{operator}")
    if policy.headless:
        yield Placed(Kind.TARGET, HEADLESS_TARGET)
    yield Placed(Kind.BLOCK, HOSTS_FILE, value="\n".join(host_files.host_names(cluster)))
    rules = host_files.firewall(description).text.decode().splitlines()
    for line in rules:
        if line.endswith((" accept", " drop")):
            yield Placed(Kind.RULE, line.strip())


def _others(description: Description, host: str) -> Iterator[Placed]:
    cluster = description.cluster
    yield Placed(Kind.FILE, gang_files.GENERATION_FILE, Drift.GANG, mode="644")
    yield Placed(Kind.FILE, host_files.daemon_record(cluster), Drift.GANG, mode="644")
    if host == cluster.head:
        yield _file(*applied_file(description), drift=Drift.GANG)
    if cluster.reconcile.enabled:
        yield Placed(Kind.KEY, AUTHORIZED_KEYS, value=watch_files.comment(description))
    if not _watches(description, host):
        return
    yield Placed(Kind.USER, watch_files.USER)
    yield Placed(Kind.KEY, watch_files.KEY)
    yield Placed(Kind.FILE, watch_files.KNOWN_HOSTS, mode="644")
    yield Placed(Kind.TREE, watch_files.environment(description)[0])
    for name, text in deployed_files(description).items():
        yield _file(f"{watch_files.PROJECT}/{name}", text)


def _watches(description: Description, host: str) -> bool:
    return description.cluster.reconcile.enabled and host == watch_files.node(description)


def _file(path: str, content: bytes, mode: str = "644", drift: Drift = Drift.HEAL) -> Placed:
    return Placed(Kind.FILE, path, drift, content, mode)


def _directory(path: str) -> Placed:
    return Placed(Kind.DIRECTORY, path, mode="755")

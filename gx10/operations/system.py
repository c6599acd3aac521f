"""Packages, sysctls, groups, default target and units as described."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import QuoteString

from gx10.engine.host_files import running_marker
from gx10.facts import FileStates, SystemState

from .asking import ask
from .commands import Command, Commands


@operation()
def packages_present(packages: Sequence[str]) -> Commands:
    """Install the Debian packages that are missing; versions are the distribution's own affair."""
    installed = ask(SystemState, packages=list(packages))["packages"]
    missing = [name for name in packages if name not in installed]
    if not missing:
        host.noop("all packages are installed")
        return
    yield Command(
        "apt-get", "update", "--quiet=2", "&&",
        "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes", "--quiet=2", "--no-install-recommends", "--",
        *(QuoteString(name) for name in missing),
    )  # fmt: skip


@operation()
def sysctls_live(sysctls: Mapping[str, int | str]) -> Commands:
    """Set kernel parameters that run with another value than described; the file for the next boot is separate."""
    found = ask(SystemState, sysctls=list(sysctls))["sysctls"]
    wrong = {name: value for name, value in sysctls.items() if found[name] != str(value)}
    if not wrong:
        host.noop("all kernel parameters run as described")
        return
    pairs = (QuoteString(f"{name}={value}") for name, value in wrong.items())
    yield Command("sysctl", "--write", "--quiet", *pairs)


@operation()
def group_members_present(group: str, members: Sequence[str]) -> Commands:
    """Add users to a group that lack membership; others in it are left alone."""
    found = ask(SystemState, groups=[group])["groups"][group] or []
    missing = [name for name in members if name not in found]
    if not missing:
        host.noop(f"all operators are members of {group}")
    for name in missing:
        yield Command("usermod", "--append", "--groups", QuoteString(group), "--", QuoteString(name))


@operation()
def default_target_is(target: str) -> Commands:
    """Boot to this systemd target."""
    if ask(SystemState)["default_target"] == target:
        host.noop(f"the host boots to {target}")
        return
    yield Command("systemctl", "set-default", "--", QuoteString(target))


@operation()
def units_enabled(units: Sequence[str]) -> Commands:
    """Start units at boot, also those that somebody masked."""
    found = ask(SystemState, units=list(units))["units"]
    states = {unit: found.get(unit, {}).get("UnitFileState", "") for unit in units}
    masked = [unit for unit, state in states.items() if state.startswith("masked")]
    wrong = [unit for unit, state in states.items() if state != "enabled"]
    if not wrong:
        host.noop("all units start at boot")
        return
    if masked:
        yield Command("systemctl", "unmask", "--", *masked)
    yield Command("systemctl", "enable", "--quiet", "--", *wrong)


@operation()
def services_current(services: Mapping[str, str]) -> Commands:
    """Run services with their described configuration: unit name to digest of everything that configures it.

    The running configuration is what the unit wrote to its marker when it started, so a run that died between
    writing a file and restarting its service is finished by the next one.
    """
    states = ask(SystemState, units=list(services))["units"]
    markers = ask(FileStates, paths=[running_marker(unit) for unit in services])
    behind = [
        unit
        for unit, digest in services.items()
        if states.get(unit, {}).get("ActiveState") != "active"
        or (markers[running_marker(unit)] or {}).get("sha256") != hashlib.sha256(digest.encode()).hexdigest()
    ]
    if not behind:
        host.noop("all services run as described")
        return
    yield Command("systemctl", "restart", "--", *behind)

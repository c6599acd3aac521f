"""Packages, sysctls, groups, default target and units as described."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from pyinfra import host
from pyinfra.api.command import QuoteString

from gx10.engine.host_files import running_marker
from gx10.facts import FileStates, LiveState, SystemState
from gx10.reconcile.classes import Drift

from .asking import ask, surveyed_first
from .commands import Command, Commands
from .declared import drifted, operation
from .guard import guarded


@operation(drift=Drift.HEAL)
def packages_present(packages: Sequence[str]) -> Commands:
    """Install the Debian packages that are missing; versions are the distribution's own affair."""
    installed = ask(SystemState, packages=list(packages))["packages"]
    missing = [name for name in packages if name not in installed and drifted(name, "absent", "installed")]
    if not missing:
        host.noop("all packages are installed")
        return
    yield Command(
        "apt-get", "update", "--quiet=2", "&&",
        "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes", "--quiet=2", "--no-install-recommends", "--",
        *(QuoteString(name) for name in missing),
    )  # fmt: skip


@operation(drift=Drift.HEAL)
def sysctls_live(sysctls: Mapping[str, int | str]) -> Commands:
    """Set kernel parameters that run with another value than described; the file for the next boot is separate."""
    found = ask(SystemState, sysctls=list(sysctls))["sysctls"]
    wrong = {
        name: value
        for name, value in sysctls.items()
        if found[name] != str(value) and drifted(name, found[name], value)
    }
    if not wrong:
        host.noop("all kernel parameters run as described")
        return
    pairs = (QuoteString(f"{name}={value}") for name, value in wrong.items())
    yield Command("sysctl", "--write", "--quiet", *pairs)


@operation(drift=Drift.HEAL)
def group_members_present(group: str, members: Sequence[str]) -> Commands:
    """Add users to a group that lack membership; others in it are left alone."""
    found = ask(SystemState, groups=[group])["groups"][group] or []
    missing = [name for name in members if name not in found and drifted(name, "no member", f"member of {group}")]
    if not missing:
        host.noop(f"all operators are members of {group}")
    for name in missing:
        yield Command("usermod", "--append", "--groups", QuoteString(group), "--", QuoteString(name))


@operation(drift=Drift.HEAL)
def default_target_is(target: str) -> Commands:
    """Boot to this systemd target."""
    found = ask(SystemState)["default_target"]
    if found == target or not drifted("default.target", found, target):
        host.noop(f"the host boots to {target}")
        return
    yield Command("systemctl", "set-default", "--", QuoteString(target))


@operation(drift=Drift.HEAL)
def units_enabled(units: Sequence[str], running: bool = False) -> Commands:
    """Start units at boot, also those that somebody masked; with `running`, such as timers, also now.

    Judged by what was there when the run began: writing a unit's file takes away a mask that stood in its place.
    """
    found = surveyed_first(SystemState, units=list(units))["units"]
    states = {unit: found.get(unit, {}).get("UnitFileState", "") for unit in units}
    active = {unit: found.get(unit, {}).get("ActiveState", "") for unit in units}
    wrong = []
    for unit, state in states.items():
        stands = active[unit] if state == "enabled" and running and active[unit] != "active" else ""
        if (state != "enabled" and drifted(unit, state or "no unit", "enabled")) or (
            stands and drifted(unit, stands, "active")
        ):
            wrong.append(unit)
    masked = [unit for unit in wrong if states[unit].startswith("masked")]
    if not wrong:
        host.noop("all units start at boot")
        return
    if masked:
        yield Command("systemctl", "unmask", "--", *masked)
    yield Command("systemctl", "enable", *(["--now"] if running else []), "--quiet", "--", *wrong)


@operation(drift=Drift.HEAL)
def services_current(services: Mapping[str, str], live: Mapping[str, Any], firewall: str) -> Commands:
    """Run services with their described configuration: unit name to digest of everything that configures it.

    The running configuration is what the unit wrote to its marker when it started, so a run that died between
    writing a file and restarting its service is finished by the next one. A service is behind as well when it runs an
    executable that was replaced, and the firewall when the kernel holds other rules than its file.
    """
    states = ask(SystemState, units=list(services))["units"]
    markers = ask(FileStates, paths=[running_marker(unit) for unit in services])
    runs_now = ask(LiveState, **live)
    behind = []
    for unit, digest in services.items():
        state = states.get(unit, {}).get("ActiveState")
        runs = (markers[running_marker(unit)] or {}).get("sha256")
        wanted = hashlib.sha256(digest.encode()).hexdigest()
        described = f"active, {wanted[:12]}"
        if state != "active" or runs != wanted:
            found = f"{state}, {str(runs)[:12]}"
        elif unit in runs_now["deleted"]:
            found = f"runs a deleted {runs_now['deleted'][unit]}"
        elif unit == firewall and runs_now["nft"]["live"] != runs_now["nft"]["described"]:
            found, described = f"live rules {runs_now['nft']['live']}", f"rules {runs_now['nft']['described']}"
        else:
            continue
        if drifted(unit, found, described):
            behind.append(unit)
    if not behind:
        host.noop("all services run as described")
        return
    others = [unit for unit in behind if unit != firewall]
    if others:
        yield Command("systemctl", "restart", "--", *others)
    if firewall in behind:
        # Rules that shut this node out are gone again after a minute.
        yield from guarded(Command("systemctl", "restart", "--", firewall), f"systemctl stop {firewall}")

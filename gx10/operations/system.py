"""Packages, sysctls, groups, default target and units as described."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from pyinfra import host
from pyinfra.api.command import QuoteString

from gx10.described.host_files import SYSCTL_UNIT, UNITS, running_marker
from gx10.drift.classes import Drift
from gx10.facts import FileStates, LiveState, SystemState

from .loop.asking import ask, surveyed_first
from .loop.commands import Command, Commands
from .loop.declared import drifted, operation
from .loop.guard import guarded


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
def sysctls_live(sysctls: Mapping[str, int | str], file: str) -> Commands:
    """Set kernel parameters that run with another value than described.

    `file` sets them at boot, and is written with the others; another file that has the last word then is told.
    """
    state = ask(SystemState, sysctls=list(sysctls), units=[SYSCTL_UNIT])
    found, at_boot = state["sysctls"], state["at_boot"]
    wrong = {
        name: value
        for name, value in sysctls.items()
        if found[name] != str(value) and drifted(name, found[name], value)
    }
    setter = state["units"][SYSCTL_UNIT].get("LoadState")
    if sysctls and setter != "loaded":
        drifted(SYSCTL_UNIT, setter, "what sets kernel parameters at boot", drift=Drift.REPORT)
    for name, value in sysctls.items():
        last = at_boot[name]
        if last and last["file"] != file and last["value"] != str(value):
            becomes = f"{'left alone' if last['value'] is None else last['value']} by {last['file']}"
            drifted(f"{name} at the next boot", becomes, f"{value} by {file}", drift=Drift.REPORT)
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
    state = ask(SystemState)
    found = state["default_target"]
    # Where ours is as described and another one counts, somebody's lies in a directory that comes first.
    drift = Drift.REPORT if state["default_link"] == target else None
    if found == target or not drifted("default.target", found, target, drift=drift):
        host.noop(f"the host boots to {target}")
        return
    yield Command("systemctl", "set-default", "--", QuoteString(target))


def of_somebody_else(state: Mapping[str, Any]) -> bool:
    """Whether systemd holds a unit from another file than this package's: then that file is told, and nothing else."""
    fragment = state.get("FragmentPath") or ""
    return fragment not in {"", "/dev/null"} and not fragment.startswith(f"{UNITS}/")


@operation(drift=Drift.HEAL)
def units_enabled(units: Sequence[str], running: bool = False, live: Mapping[str, Any] | None = None) -> Commands:
    """Start units at boot, also those that somebody masked or led elsewhere; with `running`, such as timers, also now.

    Judged by what was there when the run began: writing a unit's file takes away a mask that stood in its place. With
    `live`, timers elapse when their files say: what systemd holds can be another calendar, or none.
    """
    found = surveyed_first(SystemState, units=list(units))["units"]
    wrong, astray = [], []
    for unit in units:
        state = found.get(unit, {})
        enabled, active = state.get("UnitFileState", ""), state.get("ActiveState", "")
        links = state.get("Astray", [])
        if of_somebody_else(state):
            continue
        if enabled != "enabled":
            acts = drifted(unit, enabled or "no unit", "enabled")
        elif links:
            acts = drifted(unit, f"{', '.join(links)} is absent or leads elsewhere", "enabled")
        else:
            acts = running and active != "active" and drifted(unit, active, "active")
        if acts:
            wrong.append(unit)
            astray += links
    masked = [unit for unit in wrong if found[unit].get("UnitFileState", "").startswith("masked")]
    late = [] if live is None else _elapse_otherwise([unit for unit in units if unit not in wrong], live)
    if not wrong and not late:
        host.noop("all units start at boot")
        return
    if masked:
        yield Command("systemctl", "unmask", "--", *masked)
    if astray:
        yield Command("rm", "-rf", "--", *(QuoteString(link) for link in astray))
    if wrong:
        yield Command("systemctl", "enable", *(["--now"] if running else []), "--quiet", "--", *wrong)
    if late:
        yield Command("systemctl", "daemon-reload", "&&", "systemctl", "restart", "--", *late)


def _elapse_otherwise(units: Sequence[str], live: Mapping[str, Any]) -> list[str]:
    """Timers that systemd holds with another calendar than their files have, though nobody changed them from outside.

    Where somebody did, that is told: taking a timer up anew would not change it.
    """
    state = ask(LiveState, **live) if units else {}
    late = []
    for unit in units:
        timer = state["timers"].get(unit)
        if not timer or timer["active"] != "active" or unit in state["drop_ins"]:
            continue
        held = [*timer["calendars"], *timer["monotonic"]]
        if held != [timer["described"]]:
            acts = drifted(unit, f"elapses {', '.join(held) or 'never'}", timer["described"])
        else:
            acts = timer["sub"] == "elapsed" and drifted(unit, "will not elapse again", timer["described"])
        if acts:
            late.append(unit)
    return late


@operation(drift=Drift.HEAL)
def services_current(
    services: Mapping[str, str], live: Mapping[str, Any], firewall: str, login: Sequence[str]
) -> Commands:
    """Run services with their described configuration: unit name to digest of everything that configures it.

    The running configuration is what the unit wrote to its marker when it started, so a run that died between
    writing a file and restarting its service is finished by the next one. A service is behind as well when it runs an
    executable that was replaced, and the firewall when the kernel holds other rules than its file. `login` is the ssh
    command that must still log in once the firewall has changed.
    """
    states = ask(SystemState, units=list(services))["units"]
    markers = ask(FileStates, paths=[running_marker(unit) for unit in services])
    runs_now = ask(LiveState, **live)
    behind = []
    for unit, digest in services.items():
        if of_somebody_else(states.get(unit, {})):
            continue
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
        yield from guarded(Command("systemctl", "restart", "--", firewall), f"systemctl stop {firewall}", login)

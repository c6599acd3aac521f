"""What differs on a host that no file shows: reported, because it belongs to the host's owner or to somebody else."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pyinfra import host
from pyinfra.api.command import QuoteString

from gx10.described.host_files import UNITS, is_former_program
from gx10.drift.classes import Drift
from gx10.drift.policy import run_directory
from gx10.facts import FilterState, LiveState

from .files import topmost
from .loop.asking import ask
from .loop.commands import Command, Commands
from .loop.declared import drifted, operation

GIB = 2**30


@operation(drift=Drift.REPORT)
def host_as_its_peers(
    live: Mapping[str, Any], peer: str, clock_seconds: float, need_gib: float, services: Collection[str]
) -> Commands:
    """Compare clock, free space, kernel and driver with what is expected, and with those of a peer; change nothing.

    A service whose executable was replaced runs the old one until it is restarted.
    """
    found = ask(LiveState, **live)
    off = found["clock"] - found["received"]
    if abs(off) > clock_seconds:
        drifted("clock", f"{off:+.0f} s off", "this node's")
    for path, free in found["free"].items():
        if free < need_gib * GIB:
            drifted(f"space in {path}", f"{free / GIB:.1f} GiB free", f"{need_gib:g} GiB")
    for unit, executable in found["deleted"].items():
        if unit in services:
            drifted(unit, f"runs a deleted {executable}", "the file on disk")
    if found["reboot"]:
        drifted("reboot", "wanted by an installed package", "not pending", drift=Drift.REBOOT)
    driver = found["driver"]
    if driver["module"] and driver["loaded"] != driver["module"]:
        drifted("NVIDIA driver", f"{driver['loaded']} runs", f"{driver['module']} is installed", drift=Drift.REBOOT)
    if peer != host.name:
        theirs = ask(LiveState, peer)
        for what, ours, other in (
            ("kernel", found["kernel"]["running"], theirs["kernel"]["running"]),
            ("NVIDIA driver", driver["loaded"], theirs["driver"]["loaded"]),
        ):
            if ours != other:
                drifted(what, ours or "none", f"{other or 'none'}, as on {peer}")
    host.noop("the host was compared with its peers")
    yield from ()


@operation(drift=Drift.HEAL)
def earlier_byte_code_removed(live: Mapping[str, Any], directory: str) -> Commands:
    """Take away the byte code that programs of an earlier release wrote beside themselves.

    Only a deploy by hand does. Those of this release write none: a night that finds some finds somebody's, and tells.
    """
    path = f"{directory}/__pycache__"
    lies = run_directory() is None and path in ask(LiveState, **live)["extra"].get(directory, ())
    if not lies or not drifted(path, "byte code", "absent"):
        host.noop("no byte code of an earlier release is there to take away")
        return
    yield Command("rm", "-rf", "--", QuoteString(path))


@operation(drift=Drift.REPORT)
def nothing_added(live: Mapping[str, Any], filters: Mapping[str, Any], known: Collection[str]) -> Commands:
    """Tell what somebody added: files in this package's directories, texts, drop-ins and links of its units,
    containers, and rules of packet filters that stop what the gang needs; remove nothing.

    `known` are the paths that belong there.
    """
    state = ask(LiveState, **live)
    for directory in state["extra"].values():
        # Programs of earlier versions are told by what removes them.
        for path in topmost(path for path in directory if path not in known and not is_former_program(path)):
            drifted(path, "something that nobody described", "absent")
    told = set(known) | set(state["packaged"])
    for unit in live["units"]:
        fragment = state["fragments"].get(unit, {}).get("path", "")
        strange = fragment if fragment not in {f"{UNITS}/{unit}", "/dev/null", ""} else ""
        for path in [strange, *state["beside"].get(unit, ()), *state["drop_ins"].get(unit, ())]:
            if path and path not in told and path != f"{UNITS}/{unit}":
                told.add(path)
                drifted(path, f"systemd reads it for {unit}", "absent")
    for name, image in state["others"].items():
        drifted(f"container {name}", f"runs {image}", "absent")
    for stop in ask(FilterState, **filters)["stops"]:
        ports = ", ".join(map(str, stop["ports"][:4])) + (", …" if len(stop["ports"]) > 4 else "")
        found = f"{stop['does']} tcp {ports} on {', '.join(stop['interfaces'])}"
        drifted(f"{stop['table']}, chain {stop['chain']}: {stop['rule']}", found, "let through")
    host.noop("what was added was told")
    yield from ()

"""What differs on a host that no file shows: reported, because it belongs to the host's owner or to somebody else."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pyinfra import host

from gx10.facts import LiveState
from gx10.reconcile.classes import Drift

from .asking import ask
from .commands import Commands
from .declared import drifted, operation

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


@operation(drift=Drift.REPORT)
def nothing_added(live: Mapping[str, Any], known: Collection[str]) -> Commands:
    """Tell what somebody added: files in this package's directories, drop-ins of its units, containers; remove nothing.

    `known` are the files and drop-ins that belong there.
    """
    found = ask(LiveState, **live)
    for directory in found["extra"].values():
        for path in directory:
            if path not in known:
                drifted(path, "a file that nobody described", "absent")
    for unit, paths in found["drop_ins"].items():
        for path in paths:
            if path not in known:
                drifted(path, f"a drop-in of {unit}", "absent")
    for name, image in found["others"].items():
        drifted(f"container {name}", f"runs {image}", "absent")
    host.noop("what was added was told")
    yield from ()

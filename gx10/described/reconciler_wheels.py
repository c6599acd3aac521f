"""Whether a host holds what the reconciler's environment is made of: every locked wheel, for its own Python."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from packaging.markers import Marker
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from . import watch_files
from .description import Description

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)\s*(?:;\s*(?P<marker>[^\\]+))?")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
NAMED = 3
"""So many of what is missing are named; the rest is counted."""


def wheels_question(description: Description) -> dict[str, str]:
    """What the reconciler's host is asked."""
    directory, lock = watch_files.environment(description)
    return {"directory": str(description.cluster.reconcile.wheels), "environment": directory, "lock": lock}


def locked(text: str, python: str, machine: str) -> dict[str, frozenset[str]]:
    """Hashes by requirement, NAME==VERSION, as far as a lock asks for it on a host with this Python."""
    told: dict[str, frozenset[str]] = {}
    environment = {
        "python_version": python, "python_full_version": f"{python}.0", "implementation_name": "cpython",
        "platform_python_implementation": "CPython", "sys_platform": "linux", "platform_system": "Linux",
        "platform_machine": machine, "os_name": "posix",
    }  # fmt: skip
    for block in re.split(r"\n(?=[A-Za-z0-9])", text):
        pin = _PIN.match(block)
        if pin and (not pin["marker"] or Marker(pin["marker"].strip()).evaluate(environment)):
            told[f"{pin['name']}=={pin['version']}"] = frozenset(_HASH.findall(block))
    return told


def wheel_faults(description: Description, offered: Mapping[str, Any]) -> Iterator[str]:
    """Why the environment cannot be made on its host from what lies there, as sentences that follow the host's name."""
    if offered["installed"]:
        return
    lock = (description.project / watch_files.LOCK).read_text(encoding="utf-8")
    python, machine = ".".join(map(str, offered["python"])), offered["machine"]
    directory = description.cluster.reconcile.wheels
    by_hash = {digest: name for name, digest in offered["wheels"].items()}
    missing, unfit = list[str](), list[str]()
    for requirement, hashes in locked(lock, python, machine).items():
        there = [by_hash[digest] for digest in hashes if digest in by_hash]
        if not there:
            missing.append(requirement)
        elif not any(_fits(name, python, machine) for name in there):
            unfit.append(there[0])
    without = "or set `reconcile: {enabled: false}` in the cluster file"
    if unfit:
        yield (
            f"is the reconciler's host and has Python {python} on {machine}, and the wheels in {directory} are for "
            f"another: {_some(unfit)}. Run `.venv/bin/python -m gx10.reconcile.wheels dist/reconcile-wheels --python "
            f"{python}` at the control node and copy dist/reconcile-wheels there, {without}."
        )
    elif missing:
        yield (
            f"is the reconciler's host and lacks {len(missing)} of its environment's wheels in {directory}: "
            f"{_some(missing)}. Run `make reconcile-wheels` at the control node and copy dist/reconcile-wheels there, "
            f"name another host as reconcile.node, {without}."
        )


def _some(names: list[str]) -> str:
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _fits(wheel: str, python: str, machine: str) -> bool:
    """Whether a wheel can be installed for a Python of a machine."""
    try:
        tags = parse_wheel_filename(wheel)[3]
    except InvalidWheelFilename:
        return False
    minor = int(python.partition(".")[2])
    for tag in tags:
        number = re.fullmatch(r"cp3(\d+)", tag.interpreter)
        by_python = tag.interpreter in ("py3", f"py3{minor}") or (
            number is not None
            and (int(number[1]) == minor if tag.abi != "abi3" else int(number[1]) <= minor)
            and tag.abi in ("abi3", "none", f"cp3{minor}")
        )
        if by_python and (tag.platform == "any" or tag.platform.endswith(f"_{machine}")):
            return True
    return False

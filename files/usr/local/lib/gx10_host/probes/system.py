"""Live state of the system: argv[0] is JSON {"sysctls", "packages", "groups", "units"}; prints one JSON object.

Sources: /proc/sys, `systemd-sysctl --cat-config`, dpkg-query, /etc/group, `systemctl show`, links of enabled units,
`systemctl get-default`.
"""

from __future__ import annotations

import fnmatch
import grp
import json
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from gx10_host.commands import output, shown


def sysctl(name: str) -> str | None:
    try:
        return " ".join(pathlib.Path("/proc/sys", name.replace(".", "/")).read_text().split())
    except OSError:
        return None


SYSCTL = "/usr/lib/systemd/systemd-sysctl"


def spelled(key: str) -> str:
    """A parameter's name with dots, as it is described: where the first separator is a slash, dots mean slashes."""
    first = next((letter for letter in key if letter in "./"), ".")
    return key if first == "." else key.translate({ord("/"): ".", ord("."): "/"})


def at_boot(names: Sequence[str], command: str) -> dict[str, dict[str, str | None] | None]:
    """What each parameter becomes at the next boot: value and file of the last assignment, as systemd-sysctl reads.

    A name that is written out wins over a pattern, wherever either stands; a name alone behind `-` is left as it is.
    """
    if not names:
        return {}
    exact: dict[str, dict[str, str | None]] = {}
    patterns: dict[str, dict[str, str | None]] = {}
    file = ""
    for raw in output(command, "--cat-config").splitlines():
        line = raw.strip()
        if line.startswith("# /") and line.endswith(".conf"):
            file = line[2:]
        if not line or line[0] in "#;":
            continue
        key, equals, value = line.partition("=")
        if not equals and not key.startswith("-"):
            continue
        key = spelled(key.strip().removeprefix("-").strip())
        assigned = patterns if any(letter in key for letter in "*?[") else exact
        assigned.pop(key, None)
        assigned[key] = {"value": " ".join(value.split()) if equals else None, "file": file}
    told: dict[str, dict[str, str | None] | None] = {}
    for name in names:
        told[name] = exact.get(name)
        for pattern, assignment in patterns.items() if name not in exact else ():
            # A star stands for one level, as in the tree below /proc/sys.
            levels, parts = name.split("."), pattern.split(".")
            if len(levels) == len(parts) and all(map(fnmatch.fnmatchcase, levels, parts)):
                told[name] = assignment
    return told


def link(name: str) -> str:
    """The name of what a link leads to; nothing where no link is."""
    path = pathlib.Path(name)
    return path.readlink().name if path.is_symlink() else ""


def installed(names: Sequence[str]) -> list[str]:
    if not names:
        return []
    told = output(
        "dpkg-query", "--show", "--showformat", "${binary:Package}\t${db:Status-Abbrev}\n", "--", *names, fine=(0, 1)
    )
    rows = (line.split("\t") for line in told.splitlines() if "\t" in line)
    return sorted({name.split(":")[0] for name, status in rows if status.startswith("ii")})


def members(name: str) -> list[str] | None:
    try:
        return sorted(grp.getgrnam(name).gr_mem)
    except KeyError:
        return None


UNIT = "Id,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,Result,DropInPaths,FragmentPath"


def astray(unit: str, directory: pathlib.Path) -> list[str]:
    """Links that a unit's own text asks for at boot and that are absent or lead elsewhere."""
    text = directory / unit
    try:
        lines = text.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    wrong = []
    for line in lines:
        key, _, targets = line.partition("=")
        kind = {"WantedBy": "wants", "RequiredBy": "requires", "UpheldBy": "upholds"}.get(key.strip())
        for target in targets.split() if kind else ():
            link = directory / f"{target}.{kind}" / unit
            if not link.is_symlink() or os.path.normpath(link.parent / link.readlink()) != str(text):
                wrong.append(str(link))
    return wrong


def units(names: Sequence[str], directory: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Properties of units by the name they were asked for; systemd itself tells them by Id, which an alias is not."""
    told: dict[str, dict[str, Any]] = {}
    for name, lines in zip(names, shown(UNIT, names), strict=True):
        told[name] = dict(line.split("=", 1) for line in lines if "=" in line)
        if not told[name].pop("Id", ""):
            sys.exit(f"systemctl show: no answer for {name}")
        told[name]["Astray"] = astray(name, directory)
    return told


def main(argv: Sequence[str]) -> int:
    asked = json.loads(argv[0])
    print(
        json.dumps(
            {
                "sysctls": {name: sysctl(name) for name in asked.get("sysctls", [])},
                "at_boot": at_boot(asked.get("sysctls", []), asked.get("systemd_sysctl", SYSCTL)),
                "packages": installed(asked.get("packages", [])),
                "groups": {name: members(name) for name in asked.get("groups", [])},
                "units": units(
                    asked.get("units", []), pathlib.Path(asked.get("unit_directory", "/etc/systemd/system"))
                ),
                "default_target": output("systemctl", "get-default", fine=(0, 1)).strip(),
                "default_link": link("/etc/systemd/system/default.target"),
            }
        )
    )
    return 0

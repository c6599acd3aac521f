"""What runs on a host, as opposed to what its files say: argv[0] is JSON; prints one JSON object.

{"nft": {"table", "text"}, "containers": [name], "services": [unit], "owned": [directory], "units": [unit],
"unit_path": [directory], "calendars": {timer: calendar}, "daemon": unit, "daemon_files": [path], "record": path,
"free": [path]}

Sources: nft in an empty network namespace, `docker ps`, `systemctl show`, the directories that systemd reads, /proc,
/run, /proc/driver, uname.

In one file because it is one look at one moment: what runs is held against what the same look read.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import platform
import re
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from gx10_host import commands
from gx10_host.commands import output
from gx10_host.content.manifest import Wrong
from gx10_host.disk import free_bytes
from gx10_host.image.docker import PROBED_SECONDS, answered

SHOWN: dict[str, dict[str, list[str]]] = {}
"""What systemd holds of the units that are asked about."""
PROPERTIES = (
    "Id", "LoadState", "ActiveState", "SubState", "MainPID", "FragmentPath", "DropInPaths", "ExecStart",
    "EnvironmentFiles", "TimersCalendar", "TimersMonotonic", "NextElapseUSecRealtime",
)  # fmt: skip


def short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def nft(table: str, text: str) -> dict[str, str]:
    """Digests of a table's live rules, and of those that the described text makes; the kernel spells both."""
    live = output("nft", "list", "table", *table.split(), fine=(0, 1))
    loaded = f"nft -f - && exec nft list table {table}"
    described = output("unshare", "--net", "sh", "-c", loaded, stdin=text)
    return {"live": short(live) if live else "absent", "described": short(described)}


def others(names: Sequence[str]) -> dict[str, str]:
    """Containers that run beside those that are named."""
    try:
        told = answered("container", "ls", "--format", "{{.Names}}\t{{.Image}}", seconds=PROBED_SECONDS)
    except Wrong as error:
        sys.exit(str(error))
    rows = (line.split("\t", 1) for line in told.splitlines() if "\t" in line)
    return {name: image for name, image in rows if name not in names}


def shown(units: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """What systemd holds of units, by the name they were asked for: property to the values of its lines."""
    told: dict[str, dict[str, list[str]]] = {}
    for unit, lines in zip(units, commands.shown(",".join(PROPERTIES), units), strict=True):
        told[unit] = {}
        for line in lines:
            name, _, value = line.partition("=")
            told[unit].setdefault(name, []).append(value)
    return told


def one(properties: Mapping[str, list[str]], name: str) -> str:
    return properties.get(name, [""])[0]


def deleted(units: Sequence[str]) -> dict[str, str]:
    """Units whose main process runs an executable, or maps a library, that is no longer the file on disk."""
    found = {}
    for unit in units:
        process = int(one(SHOWN[unit], "MainPID") or 0)
        if not process:
            continue
        try:
            executable = str(pathlib.Path(f"/proc/{process}/exe").readlink())
            maps = pathlib.Path(f"/proc/{process}/maps").read_text()
        except OSError:
            continue
        gone = [executable] if executable.endswith(" (deleted)") else []
        gone += [
            line.split(None, 5)[5]
            for line in maps.splitlines()
            if line.endswith(" (deleted)") and ".so" in line and "/" in line
        ]
        if gone:
            found[unit] = gone[0].removesuffix(" (deleted)")
    return found


def former(units: Sequence[str]) -> dict[str, str]:
    """Units whose main process runs another program than they would start now: that of an earlier version."""
    found = {}
    for unit in units:
        process, start = int(one(SHOWN[unit], "MainPID") or 0), re.search(r"path=(\S+)", one(SHOWN[unit], "ExecStart"))
        if not process or not start:
            continue
        try:
            words = pathlib.Path(f"/proc/{process}/cmdline").read_text().split("\0")
            with pathlib.Path(start[1]).open("rb") as program:
                script = program.read(2) == b"#!"  # What is none is told by its executable.
        except OSError:
            continue
        if script and start[1] not in words:
            found[unit] = next((word for word in words[1:] if word.startswith("/")), words[0])
    return found


def extra(directories: Sequence[str]) -> dict[str, list[str]]:
    """Everything that lies in directories, by directory: files, links, and directories as well, byte code too."""
    return {
        name: sorted(str(path) for path in pathlib.Path(name).rglob("*") if not path.name.endswith(".gx10-partial"))
        for name in directories
    }


def drop_ins(units: Sequence[str]) -> dict[str, list[str]]:
    """Files that change a unit from outside in what systemd holds, wherever it took them from."""
    found = {unit: shlex.split(one(SHOWN[unit], "DropInPaths")) for unit in units}
    return {unit: paths for unit, paths in found.items() if paths}


def names_of(unit: str) -> list[str]:
    """Names of directories whose files apply to a unit: its own, those of its prefixes, and of its type."""
    stem, _, kind = unit.rpartition(".")
    words = stem.split("-")
    prefixes = ["-".join(words[:count]) + "-" for count in range(1, len(words))]
    return [f"{name}.{kind}.d" for name in (stem, *prefixes)] + [f"{kind}.d"]


PULLING = (".wants", ".requires", ".upholds")


def below(directory: pathlib.Path) -> list[pathlib.Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def beside(units: Sequence[str], directories: Sequence[str]) -> dict[str, list[str]]:
    """What lies where systemd looks and bears on a unit, read already or not: texts of its name, drop-ins, links."""
    found: dict[str, list[str]] = {unit: [] for unit in units}
    described = {name: unit for unit in units for name in names_of(unit)}
    for directory in map(pathlib.Path, directories):
        for path in below(directory):
            name, suffix = path.name, path.suffix
            if name in found:
                found[name].append(str(path))
            elif name in described:
                found[described[name]] += [str(file) for file in below(path) if file.suffix == ".conf"]
            elif suffix in PULLING:
                if path.stem in found:
                    found[path.stem] += [str(link) for link in below(path)]
                for unit in units:
                    if (path / unit).is_symlink() or (path / unit).exists():
                        found[unit].append(str(path / unit))
    return {unit: paths for unit, paths in found.items() if paths}


def packaged(paths: Sequence[str]) -> list[str]:
    """Those of some paths that the distribution's packages brought."""
    theirs = [path for path in paths if path.startswith(("/usr/lib/", "/lib/"))]
    told = output("dpkg-query", "--search", *theirs, fine=(0, 1)) if theirs else ""
    return [path for path in theirs if any(line.endswith(f": {path}") for line in told.splitlines())]


def fragments(units: Sequence[str]) -> dict[str, dict[str, str]]:
    """The file from which systemd holds each unit that it has, and whether it is masked."""
    held = {unit: (one(SHOWN[unit], "FragmentPath"), one(SHOWN[unit], "LoadState")) for unit in units}
    return {unit: {"path": path, "load": load} for unit, (path, load) in held.items() if load != "not-found"}


def normalized(calendar: str) -> str:
    told = output("systemd-analyze", "calendar", calendar)
    return next(line.split(": ", 1)[1].strip() for line in told.splitlines() if "Normalized form: " in line)


def timers(calendars: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """When timers elapse in what systemd holds, what was described in the same spelling, and whether they wait."""
    told = {}
    for timer, calendar in calendars.items():
        held = SHOWN[timer].get("TimersCalendar", [])
        told[timer] = {
            "calendars": [re.sub(r"^\{ OnCalendar=(.*?) ;.*\}$", r"\1", text) for text in held if text],
            "described": normalized(calendar),
            "monotonic": [text for text in SHOWN[timer].get("TimersMonotonic", []) if text],
            "next": one(SHOWN[timer], "NextElapseUSecRealtime"),
            "active": one(SHOWN[timer], "ActiveState"),
            "sub": one(SHOWN[timer], "SubState"),
        }
    return told


def digest_of(name: str) -> str:
    try:
        return hashlib.sha256(pathlib.Path(name).read_bytes()).hexdigest()[:12]
    except OSError:
        return "absent"


def keys_of(name: str) -> dict[str, str]:
    """Digests of the keys of a JSON file, whatever its order and spelling."""
    try:
        text = pathlib.Path(name).read_text()
    except OSError:
        return {}
    try:
        keys = json.loads(text or "{}")
    except ValueError:
        keys = None
    if not isinstance(keys, dict):
        return {f"{name}": f"no JSON object, {short(text)}"}
    return {f"{name}: {key}": short(json.dumps(value, sort_keys=True)) for key, value in keys.items()}


def daemon(unit: str, files: Sequence[str]) -> dict[str, str]:
    """What configures a daemon, as names and digests: its command and files in systemd, and its own files."""
    if not unit:
        return {}
    held = SHOWN[unit]
    told = {}
    for text in held.get("ExecStart", []):
        if argv := re.search(r"argv\[\]=(.*?) ; ignore_errors=", text):
            told["command"] = argv[1]
    for name in shlex.split(one(held, "DropInPaths")):
        told[f"drop-in {name}"] = digest_of(name)
    for text in held.get("EnvironmentFiles", []):
        name = text.rpartition(" (")[0] or text
        if name:
            told[f"environment {name}"] = digest_of(name)
    if path := one(held, "FragmentPath"):
        told["unit"] = path
    for name in files:
        told |= keys_of(name)
    return told


def record(name: str) -> dict[str, Any] | None:
    """A JSON object that was noted on this host, or None."""
    try:
        told = json.loads(pathlib.Path(name).read_text()) if name else None
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None


def driver() -> dict[str, str]:
    """Versions of the NVIDIA driver: what is loaded, and what is installed for the next boot."""
    version = pathlib.Path("/proc/driver/nvidia/version")
    loaded = ""
    if version.exists():
        words = version.read_text().split("\n", 1)[0].split()
        loaded = next((word for word in words if word[:1].isdigit() and "." in word), "")
    module = pathlib.Path("/sys/module/nvidia/version")
    return {"loaded": loaded, "module": module.read_text().strip() if module.exists() else ""}


def kernels() -> dict[str, Any]:
    """The kernel that runs, and the newest that is installed."""
    installed = sorted(path.name for path in pathlib.Path("/lib/modules").glob("*"))
    return {"running": platform.release(), "installed": installed}


def main(argv: Sequence[str]) -> int:
    asked = json.loads(argv[0])

    own, services, watched = asked.get("units", []), asked.get("services", []), asked.get("daemon", "")
    SHOWN.update(
        shown(list(dict.fromkeys([*own, *services, *asked.get("calendars", {}), *([watched] if watched else [])])))
    )
    lying = beside(own, asked.get("unit_path", []))
    print(
        json.dumps(
            {
                "nft": nft(**asked["nft"]) if asked.get("nft") else None,
                "others": others(asked.get("containers", [])),
                "deleted": deleted(services),
                "former": former(services),
                "extra": extra(asked.get("owned", [])),
                "drop_ins": drop_ins(own),
                "beside": lying,
                "packaged": packaged(sorted({path for paths in lying.values() for path in paths})),
                "fragments": fragments(own),
                "timers": timers(asked.get("calendars", {})),
                "daemon": daemon(watched, asked.get("daemon_files", [])),
                "record": record(asked.get("record", "")),
                "driver": driver(),
                "kernel": kernels(),
                "clock": time.time(),
                "free": {name: free_bytes(name) for name in asked.get("free", [])},
                "reboot": pathlib.Path("/run/reboot-required").exists(),
            }
        )
    )
    return 0

"""What runs on a host, as opposed to what its files say: argv[1] is JSON; prints one JSON object.

{"nft": {"table", "text"}, "containers": [name], "services": [unit], "owned": [directory], "units": [unit],
"free": [path]}

Sources: nft in an empty network namespace, `docker ps`, /proc, /run, /proc/driver, uname, timedatectl.
"""

import hashlib
import json
import os
import pathlib
import platform
import subprocess
import sys
import time

asked = json.loads(sys.argv[1])


def output(*argv, stdin=None, fine=(0,)):
    """What a command prints; one that does not run or answer makes the state unknown, which is an error."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, input=stdin, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        sys.exit(f"{argv[0]}: {error}")
    if done.returncode not in fine:
        sys.exit(f"{argv[0]}: {done.stderr.strip() or f'status {done.returncode}'}")
    return done.stdout


def short(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def nft(table, text):
    """Digests of a table's live rules, and of those that the described text makes; the kernel spells both."""
    live = output("nft", "list", "table", *table.split(), fine=(0, 1))
    loaded = f"nft -f - && exec nft list table {table}"
    described = output("unshare", "--net", "sh", "-c", loaded, stdin=text)
    return {"live": short(live) if live else "absent", "described": short(described)}


def others(names):
    """Containers that run beside those that are named."""
    told = output("docker", "container", "ls", "--format", "{{.Names}}\t{{.Image}}")
    rows = (line.split("\t", 1) for line in told.splitlines() if "\t" in line)
    return {name: image for name, image in rows if name not in names}


def main_processes(units):
    told = output("systemctl", "show", "--property", "Id,MainPID", "--", *units).strip().split("\n\n")
    return {unit: int(block.split("MainPID=", 1)[1].split()[0]) for unit, block in zip(units, told, strict=True)}


def deleted(units):
    """Units whose main process runs an executable, or maps a library, that is no longer the file on disk."""
    found = {}
    for unit, process in main_processes(units).items() if units else ():
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


def extra(directories):
    """Everything that lies in directories, by directory; byte code is nobody's."""
    told = {}
    for name in directories:
        root = pathlib.Path(name)
        told[name] = sorted(
            str(path)
            for path in root.rglob("*")
            if "__pycache__" not in path.parts and not path.is_dir() and not path.name.endswith(".gx10-partial")
        )
    return told


def drop_ins(units):
    """Files that change a unit from outside, wherever systemd takes them from."""
    if not units:
        return {}
    told = output("systemctl", "show", "--property", "Id,DropInPaths", "--", *units).strip().split("\n\n")
    found = {}
    for unit, block in zip(units, told, strict=True):
        paths = block.split("DropInPaths=", 1)[1].split("\n", 1)[0].split() if "DropInPaths=" in block else []
        if paths:
            found[unit] = paths
    return found


def driver():
    """Versions of the NVIDIA driver: what is loaded, and what is installed for the next boot."""
    version = pathlib.Path("/proc/driver/nvidia/version")
    loaded = ""
    if version.exists():
        words = version.read_text().split("\n", 1)[0].split()
        loaded = next((word for word in words if word[:1].isdigit() and "." in word), "")
    module = pathlib.Path("/sys/module/nvidia/version")
    return {"loaded": loaded, "module": module.read_text().strip() if module.exists() else ""}


def kernels():
    """The kernel that runs, and the newest that is installed."""
    installed = sorted(path.name for path in pathlib.Path("/lib/modules").glob("*"))
    return {"running": platform.release(), "installed": installed}


def free(paths):
    told = {}
    for name in paths:
        path = pathlib.Path(name).absolute()
        while not path.exists():
            path = path.parent
        found = os.statvfs(path)
        told[name] = found.f_bavail * found.f_frsize
    return told


print(
    json.dumps(
        {
            "nft": nft(**asked["nft"]) if asked.get("nft") else None,
            "others": others(asked.get("containers", [])),
            "deleted": deleted(asked.get("services", [])),
            "extra": extra(asked.get("owned", [])),
            "drop_ins": drop_ins(asked.get("units", [])),
            "driver": driver(),
            "kernel": kernels(),
            "clock": time.time(),
            "free": free(asked.get("free", [])),
            "reboot": pathlib.Path("/run/reboot-required").exists(),
        }
    )
)

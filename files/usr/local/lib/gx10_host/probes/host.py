"""What a host offers: argv[0] is JSON {"paths": [...]}; prints one JSON object.

Sources: uname, /proc/meminfo, statvfs, `ip -j`, `docker info`.
"""

from __future__ import annotations

import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from gx10_host import memory


def output(*argv: str) -> tuple[str | None, str]:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, str(error)
    if done.returncode:
        return None, (done.stderr or done.stdout).strip()
    return done.stdout, ""


def docker() -> dict[str, Any]:
    told, error = output("docker", "info", "--format", "{{json .}}")
    if told is None:
        return {"ok": False, "error": error}
    try:
        info = json.loads(told)
    except ValueError:
        return {"ok": False, "error": f"docker info answered {told[:80]!r}, which is no JSON"}
    if info.get("ServerErrors"):
        return {"ok": False, "error": "; ".join(info["ServerErrors"])}
    return {
        "ok": True,
        "error": "",
        "version": info.get("ServerVersion", ""),
        "driver": info.get("Driver", ""),
        "root": info.get("DockerRootDir", "/var/lib/docker"),
        "runtimes": sorted(info.get("Runtimes") or {}),
        "daemon": {
            "version": info.get("ServerVersion", ""),
            "storage driver": info.get("Driver", ""),
            "data root": info.get("DockerRootDir", ""),
            "cgroup driver": info.get("CgroupDriver", ""),
            "cgroup version": info.get("CgroupVersion", ""),
            "default runtime": info.get("DefaultRuntime", ""),
            **{
                f"runtime {name}": " ".join([runtime.get("path") or "", *(runtime.get("runtimeArgs") or [])]).strip()
                for name, runtime in (info.get("Runtimes") or {}).items()
            },
        },
    }


def free_bytes(name: str) -> int:
    path = pathlib.Path(name).absolute()
    while not path.exists():
        path = path.parent
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def addresses() -> dict[str, list[str]]:
    told, _ = output("ip", "-j", "address")
    return {
        link["ifname"]: [entry["local"] for entry in link.get("addr_info", []) if entry.get("family") == "inet"]
        for link in json.loads(told or "[]")
        if link.get("ifname")
    }


def main(argv: Sequence[str]) -> int:
    asked = json.loads(argv[0])
    daemon = docker()
    print(
        json.dumps(
            {
                "architecture": platform.machine(),
                "python": list(sys.version_info[:2]),
                "root": os.geteuid() == 0,
                "clock": time.time(),
                "memory_total_gib": memory.total_gib(),
                "docker": daemon,
                "free": {name: free_bytes(name) for name in [*asked["paths"], daemon.get("root", "/var/lib/docker")]},
                "addresses": addresses(),
                "commands": {name: shutil.which(name) is not None for name in asked.get("commands", [])},
            }
        )
    )
    return 0

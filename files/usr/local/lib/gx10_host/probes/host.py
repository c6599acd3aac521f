"""What a host offers: argv[0] is JSON {"paths": [...]}; prints one JSON object.

Sources: uname, /proc/meminfo, statvfs, `ip -j`, `docker info`.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any

from gx10_host import memory
from gx10_host.commands import tried
from gx10_host.disk import free_bytes
from gx10_host.image.docker import PROBED_SECONDS, Silent, answered


def docker() -> dict[str, Any]:
    try:
        told = answered("info", "--format", "{{json .}}", seconds=PROBED_SECONDS)
        info = json.loads(told)
    except Silent as error:
        return {"ok": False, "error": error.cause}
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


def addresses() -> dict[str, list[str]]:
    told, _ = tried("ip", "-j", "address")
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

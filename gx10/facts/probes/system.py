"""Live state of the system: argv[1] is JSON {"sysctls", "packages", "groups", "units"}; prints one JSON object.

Sources: /proc/sys, dpkg-query, /etc/group, `systemctl show`, `systemctl get-default`.
"""

import grp
import json
import pathlib
import subprocess
import sys


def output(*argv):
    return subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False).stdout


def sysctl(name):
    try:
        return " ".join(pathlib.Path("/proc/sys", name.replace(".", "/")).read_text().split())
    except OSError:
        return None


def installed(names):
    if not names:
        return []
    told = output("dpkg-query", "--show", "--showformat", "${binary:Package}\t${db:Status-Abbrev}\n", *names)
    rows = (line.split("\t") for line in told.splitlines() if "\t" in line)
    return sorted({name.split(":")[0] for name, status in rows if status.startswith("ii")})


def members(name):
    try:
        return sorted(grp.getgrnam(name).gr_mem)
    except KeyError:
        return None


UNIT = "Id,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,Result,DropInPaths"


def units(names):
    if not names:
        return {}
    told = {}
    for block in output("systemctl", "show", "--property", UNIT, "--", *names).strip().split("\n\n"):
        pairs = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if pairs:
            told[pairs.pop("Id")] = pairs
    return told


asked = json.loads(sys.argv[1])
print(
    json.dumps(
        {
            "sysctls": {name: sysctl(name) for name in asked.get("sysctls", [])},
            "packages": installed(asked.get("packages", [])),
            "groups": {name: members(name) for name in asked.get("groups", [])},
            "units": units(asked.get("units", [])),
            "default_target": output("systemctl", "get-default").strip(),
        }
    )
)

"""Live state of the system: argv[1] is JSON {"sysctls", "packages", "groups", "units"}; prints one JSON object.

Sources: /proc/sys, dpkg-query, /etc/group, `systemctl show`, `systemctl get-default`.
"""

import grp
import json
import pathlib
import subprocess
import sys


def output(*argv, fine=(0,)):
    """What a command prints; one that does not run or answer makes the state unknown, which is an error."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        sys.exit(f"{argv[0]}: {error}")
    if done.returncode not in fine:
        sys.exit(f"{argv[0]}: {done.stderr.strip() or f'status {done.returncode}'}")
    return done.stdout


def sysctl(name):
    try:
        return " ".join(pathlib.Path("/proc/sys", name.replace(".", "/")).read_text().split())
    except OSError:
        return None


def installed(names):
    if not names:
        return []
    told = output(
        "dpkg-query", "--show", "--showformat", "${binary:Package}\t${db:Status-Abbrev}\n", "--", *names, fine=(0, 1)
    )
    rows = (line.split("\t") for line in told.splitlines() if "\t" in line)
    return sorted({name.split(":")[0] for name, status in rows if status.startswith("ii")})


def members(name):
    try:
        return sorted(grp.getgrnam(name).gr_mem)
    except KeyError:
        return None


UNIT = "Id,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,Result,DropInPaths"


def units(names):
    """Properties of units by the name they were asked for; systemd itself tells them by Id, which an alias is not."""
    if not names:
        return {}
    blocks = output("systemctl", "show", "--property", UNIT, "--", *names).strip().split("\n\n")
    if len(blocks) != len(names):
        sys.exit(f"systemctl show: {len(blocks)} answers for {len(names)} units")
    told = {}
    for name, block in zip(names, blocks, strict=True):
        told[name] = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if not told[name].pop("Id", ""):
            sys.exit(f"systemctl show: no answer for {name}")
    return told


asked = json.loads(sys.argv[1])
print(
    json.dumps(
        {
            "sysctls": {name: sysctl(name) for name in asked.get("sysctls", [])},
            "packages": installed(asked.get("packages", [])),
            "groups": {name: members(name) for name in asked.get("groups", [])},
            "units": units(asked.get("units", [])),
            "default_target": output("systemctl", "get-default", fine=(0, 1)).strip(),
        }
    )
)

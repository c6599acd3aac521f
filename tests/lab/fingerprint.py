"""Everything that a deploy decides on a host, as one value that two hosts' lives can be compared by."""

from __future__ import annotations

import json

from gx10.lab.lab import Lab

PROGRAM = r"""
import glob, hashlib, json, os, pathlib, subprocess
def run(*argv): return subprocess.run(argv, capture_output=True, text=True, check=False).stdout
roots = ["/etc/gx10", "/etc/systemd/system", "/usr/local/lib/gx10_host", "/usr/local/bin/gx10-host", "/etc/sysctl.d"]
roots += ["/etc/hosts", "/srv/models"]
told = {}
for root in roots:
    for path in sorted([root, *glob.glob(root + "/**", recursive=True, include_hidden=True)]):
        if "__pycache__" in path or path.endswith(".gx10-proven.json"): continue
        found = os.lstat(path)
        entry = [oct(found.st_mode), found.st_uid, found.st_gid]
        if os.path.islink(path): entry.append(os.readlink(path))
        elif os.path.isfile(path): entry.append(hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest())
        told[path] = entry
archive = "/var/lib/gx10/archive"
told["archive"] = sorted(p for p in glob.glob(archive + "/**", recursive=True) if os.path.isfile(p))
for ref in run("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split():
    told["image " + ref] = json.loads(run("docker", "image", "inspect", ref))[0]["RootFS"]
for name in run("docker", "ps", "--format", "{{.Names}}").split():
    found = json.loads(run("docker", "container", "inspect", name))[0]
    labels = {key: value for key, value in found["Config"]["Labels"].items() if key != "gx10.life"}
    told["container " + name] = [labels, found["Config"]["Cmd"], found["Config"]["Image"]]
for unit in ["ray-head", "ray-worker", "vllm-engine", "gx10-gang", "gx10-share", "gx10-firewall"]:
    told["unit " + unit] = run("systemctl", "show", "-p", "ActiveState,UnitFileState,NeedDaemonReload", unit)
told["nft"] = run("nft", "list", "table", "inet", "gx10")
print(json.dumps(told))
"""


def fingerprint(lab: Lab, host: str) -> dict[str, object]:
    """Files, images, containers, units and firewall of a host."""
    told: dict[str, object] = json.loads(lab.run(host, "python3", "-c", PROGRAM).stdout)
    return told

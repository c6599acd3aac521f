"""What of this package a host holds beside its own files: argv[0] is JSON, prints one JSON object.

{"login", "hosts", "table", "label", "containers", "engine", "archive", "model_root"}. Tells the lines of
authorized_keys and of the hosts file, whether the firewall's table runs, images by reference, containers, what is in
the archive, whether there is a model root, whether the engine runs, and processes of ranks. Changes nothing.
"""

from __future__ import annotations

import json
import pathlib
import pwd
from collections.abc import Sequence

from gx10_host.commands import output


def lines(path: pathlib.Path) -> list[str]:
    try:
        text = path.read_bytes().decode(errors="surrogateescape")
    except FileNotFoundError:
        return []
    return text.removesuffix("\n").split("\n") if text else []


def images(label: str) -> dict[str, int]:
    """References and sizes of images with the label; one without a name by its id."""
    told = output("docker", "image", "ls", "--no-trunc", "--filter", f"label={label}", "--format", "json")
    rows = [json.loads(line) for line in told.splitlines() if line.strip()]
    names = [f"{row['Repository']}:{row['Tag']}" if row["Tag"] != "<none>" else row["ID"] for row in rows]
    sizes = {}
    for row, name in zip(rows, names, strict=True):
        sizes[name] = int(output("docker", "image", "inspect", "--format", "{{.Size}}", row["ID"]).strip())
    return sizes


def containers(names: Sequence[str]) -> list[str]:
    told = output("docker", "container", "ls", "--all", "--format", "{{.Names}}").split()
    return [name for name in names if name in told]


def archived(root: pathlib.Path) -> dict[str, int]:
    files = [path for part in ("images", "blobs/sha256") for path in (root / part).glob("*") if path.is_file()]
    return {"files": len(files), "bytes": sum(path.lstat().st_size for path in files)}


def ranks() -> int:
    """Processes of ranks: every one of the gang's containers begins with this in its environment."""
    count = 0
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            count += b"\0GX10_RANK_OF=" in b"\0" + (process / "environ").read_bytes()
        except OSError:  # It ended meanwhile.
            continue
    return count


def main(argv: Sequence[str]) -> int:
    asked = json.loads(argv[0])

    home = pathlib.Path(pwd.getpwnam(asked["login"]).pw_dir)
    print(
        json.dumps(
            {
                "authorized": lines(home / ".ssh/authorized_keys"),
                "hosts": lines(pathlib.Path(asked["hosts"])),
                "table": bool(output("nft", "list", "table", *asked["table"].split(), fine=(0, 1))),
                "images": images(asked["label"]),
                "containers": containers(asked["containers"]),
                "model_root": pathlib.Path(asked["model_root"]).is_dir(),
                "archive": archived(pathlib.Path(asked["archive"])),
                "engine": output("systemctl", "is-active", asked["engine"], fine=(0, 1, 2, 3, 4)).strip(),
                "ranks": ranks(),
            }
        )
    )
    return 0

"""What of this package a host holds beside its own files: argv[0] is JSON, prints one JSON object.

{"login", "hosts", "table", "label", "containers", "engine", "archive", "model_root"}. Tells the lines of
authorized_keys and of the hosts file, whether the firewall's table runs, images by reference, containers, what is in
the archive, whether there is a model root, whether the engine runs, and processes of ranks. Changes nothing.
"""

from __future__ import annotations

import json
import pathlib
import pwd
import sys
from collections.abc import Sequence

from gx10_host.commands import output
from gx10_host.content.manifest import Wrong
from gx10_host.disk import lines_of
from gx10_host.image.docker import answered, image_size


def images(label: str) -> dict[str, int]:
    """References and sizes of images with the label; one without a name by its id."""
    told = answered("image", "ls", "--no-trunc", "--filter", f"label={label}", "--format", "json")
    rows = [json.loads(line) for line in told.splitlines() if line.strip()]
    names = [f"{row['Repository']}:{row['Tag']}" if row["Tag"] != "<none>" else row["ID"] for row in rows]
    return {name: image_size(row["ID"]) for row, name in zip(rows, names, strict=True)}


def containers(names: Sequence[str]) -> list[str]:
    told = answered("container", "ls", "--all", "--format", "{{.Names}}").split()
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
    try:
        labelled, left = images(asked["label"]), containers(asked["containers"])
    except Wrong as error:
        sys.exit(str(error))
    print(
        json.dumps(
            {
                "authorized": lines_of(home / ".ssh/authorized_keys"),
                "hosts": lines_of(asked["hosts"]),
                "table": bool(output("nft", "list", "table", *asked["table"].split(), fine=(0, 1))),
                "images": labelled,
                "containers": left,
                "model_root": pathlib.Path(asked["model_root"]).is_dir(),
                "archive": archived(pathlib.Path(asked["archive"])),
                "engine": output("systemctl", "is-active", asked["engine"], fine=(0, 1, 2, 3, 4)).strip(),
                "ranks": ranks(),
            }
        )
    )
    return 0

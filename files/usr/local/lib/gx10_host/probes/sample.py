"""Hash a part of what is stored: argv[0] is JSON {"sets": [{"root", "manifests"}], "turn", "parts"}; prints JSON.

Each turn hashes another part of a set, and so many turns everything. A file that holds something else is no longer
taken for proven: the next deploy finds it, and puts it back.
"""

from __future__ import annotations

import contextlib
import io
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from gx10_host.content.landing import alone_in
from gx10_host.content.manifest import Entry, read_manifest
from gx10_host.content.proof import prove, sample

WAIT_SECONDS = 60


def main(argv: Sequence[str]) -> int:
    asked = json.loads(argv[0])

    told: dict[str, Any] = {"files": 0, "bytes": 0, "damaged": []}
    for one in asked["sets"]:
        root = pathlib.Path(one["root"])
        found: dict[str, Entry] = {}
        for path in root.glob(one["manifests"]):
            manifest = read_manifest(path) or {"files": []}
            found.update((entry["path"], entry) for entry in manifest["files"])
        if not found:
            continue
        entries = sample(found.values(), asked["turn"] % asked["parts"] + 1, asked["parts"])
        with contextlib.redirect_stdout(io.StringIO()), alone_in(root, WAIT_SECONDS):
            wrong = prove(root, str(root), entries, everything=True)
        told["files"] += len(entries)
        told["bytes"] += sum(entry["size"] for entry in entries)
        told["damaged"] += [f"{root}/{entry['path']}" for entry in wrong]
    print(json.dumps(told))
    return 0

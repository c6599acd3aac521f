"""Faults of wheels: argv[0] is JSON {"directory", "required": {file: sha256 or null}}; prints JSON {file: fault}."""

from __future__ import annotations

import hashlib
import json
import pathlib
from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    asked = json.loads(argv[0])
    wrong = {}
    for name, wanted in asked["required"].items():
        path = pathlib.Path(asked["directory"], name)
        if not path.is_file():
            wrong[name] = "is missing"
        else:
            with path.open("rb") as source:
                found = hashlib.file_digest(source, "sha256").hexdigest()
            if wanted is None:
                wrong[name] = f"has sha256 {found}, and none is pinned"
            elif found != wanted:
                wrong[name] = f"has sha256 {found}, expected {wanted}"
    print(json.dumps(wrong))
    return 0

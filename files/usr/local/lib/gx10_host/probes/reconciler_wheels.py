"""Wheels for the reconciler's environment: argv[0] is JSON {"directory", "environment", "lock"}; prints JSON.

"installed" tells whether the environment was made from the lock with this digest: then nobody looks at wheels, and
nothing is hashed. Otherwise "wheels" are the files with their sha256, and "python" and "machine" what they must fit.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import platform
import sys
from collections.abc import Sequence

from gx10_host.night.environment import SEAL


def sealed(environment: str) -> str:
    """The lock that the environment was made from; nothing where it is not whole."""
    try:
        return str(json.loads(pathlib.Path(environment, SEAL).read_text())["lock"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def wheels(directory: str) -> dict[str, str]:
    told = {}
    for path in sorted(pathlib.Path(directory).glob("*.whl")):
        with path.open("rb") as wheel:
            told[path.name] = hashlib.file_digest(wheel, "sha256").hexdigest()
    return told


def main(argv: Sequence[str]) -> int:
    asked = json.loads(argv[0])

    installed = sealed(asked["environment"]) == asked["lock"]
    print(
        json.dumps(
            {
                "installed": installed,
                "wheels": {} if installed else wheels(asked["directory"]),
                "python": list(sys.version_info[:2]),
                "machine": platform.machine(),
            }
        )
    )
    return 0

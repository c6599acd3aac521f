"""What a run asks each host before all else: argv[0] is JSON {"read": {name: path}}; prints one JSON object.

Tells the clock, whether a reboot is wanted, and the JSON files that it is asked for: None where there is none, a
text where one cannot be read, which is never the same.
"""

from __future__ import annotations

import json
import pathlib
import time
from collections.abc import Sequence


def read(name: str) -> object:
    try:
        return json.loads(pathlib.Path(name).read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        return f"{name}: {error}"


def main(argv: Sequence[str]) -> int:
    asked = json.loads(argv[0])

    print(
        json.dumps(
            {
                "clock": time.time(),
                "reboot": pathlib.Path("/run/reboot-required").exists(),
                "read": {name: read(path) for name, path in asked["read"].items()},
            }
        )
    )
    return 0

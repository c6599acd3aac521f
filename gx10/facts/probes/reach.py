"""What a run asks each host before all else: argv[1] is JSON {"read": {name: path}}; prints one JSON object.

Tells the clock, whether a reboot is wanted, and the JSON files that it is asked for: None where there is none.
"""

import json
import pathlib
import sys
import time

asked = json.loads(sys.argv[1])


def read(name):
    try:
        return json.loads(pathlib.Path(name).read_text())
    except (OSError, ValueError):
        return None


print(
    json.dumps(
        {
            "clock": time.time(),
            "reboot": pathlib.Path("/run/reboot-required").exists(),
            "read": {name: read(path) for name, path in asked["read"].items()},
        }
    )
)

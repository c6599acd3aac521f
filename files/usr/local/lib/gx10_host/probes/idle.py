"""Wait until an engine has no request: argv[0] is JSON {"url", "idle_seconds", "seconds"}; prints one JSON object.

Idle means that for some seconds on end nothing ran and nothing waited, by the engine's own gauges.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from gx10_host.engine.api import Api, NoAnswer


def requests(url: str) -> float | None:
    """Requests that run and that wait; None when the engine does not say."""
    try:
        return Api(url).metrics().in_flight
    except NoAnswer:
        return None


def main(argv: Sequence[str]) -> int:
    asked = json.loads(argv[0])

    until = time.monotonic() + asked["seconds"]
    since = None
    last = None
    while True:
        last, now = requests(asked["url"]), time.monotonic()
        since = (since or now) if last == 0 else None
        idle = since is not None and now - since >= asked["idle_seconds"]
        if idle or now >= until:
            print(json.dumps({"idle": idle, "requests": last}))
            return 0
        time.sleep(0.2)
    return 0

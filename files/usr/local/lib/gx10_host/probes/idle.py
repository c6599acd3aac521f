"""Wait until an engine has no request: argv[0] is JSON {"url", "idle_seconds", "seconds"}; prints one JSON object.

Idle means that for some seconds on end nothing ran and nothing waited, by the engine's own gauges.
"""

from __future__ import annotations

import http.client
import json
import re
import time
import urllib.request
from collections.abc import Sequence

GAUGE = re.compile(r"^vllm:num_requests_(running|waiting)(?:\{[^}]*\})? ([0-9.eE+-]+)$", re.MULTILINE)
# The engine is this host's own: a proxy that the environment names must not be asked for it.
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def requests(url: str) -> float | None:
    """Requests that run and that wait; None when the engine does not say."""
    try:
        with direct.open(f"{url}/metrics", timeout=5) as response:
            text = response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return None
    found = GAUGE.findall(text)
    if {name for name, _ in found} != {"running", "waiting"}:
        return None
    return sum(float(value) for _, value in found)


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

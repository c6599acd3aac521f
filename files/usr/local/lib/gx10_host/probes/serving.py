"""Memory of a host, what its engine's API serves, what the head's supervisor says of the gang, and a suspension.

argv[0] is JSON {"url", "suspension"}, both null or absent where the host is not asked for them; prints one JSON object.
A suspension that cannot be read is told as a text, which is none.
"""

from __future__ import annotations

import json
import pathlib
import time
from collections.abc import Sequence
from typing import Any

from gx10_host import memory
from gx10_host.engine.api import Api, NoAnswer


def models(url: str | None) -> list[str] | None:
    if not url:
        return None
    try:
        return Api(url).models()
    except NoAnswer:
        return None


def suspension(path: str | None) -> Any:
    if not path:
        return None
    try:
        return json.loads(pathlib.Path(path).read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        return f"unreadable: {error}"


def main(argv: Sequence[str]) -> int:
    asked = json.loads(argv[0])
    generation = pathlib.Path("/etc/gx10/generation.env")
    described = generation.read_text().strip().partition("=")[2] if generation.exists() else None
    picture = pathlib.Path("/run/gx10/gang.json")
    try:
        gang = json.loads(picture.read_text())["picture"] if time.time() - picture.stat().st_mtime < 60 else None
    except (OSError, ValueError, LookupError):
        gang = None

    print(
        json.dumps(
            {
                "suspension": suspension(asked.get("suspension")),
                "gang": gang,
                "models": models(asked["url"]),
                "memory": {"total_gib": memory.total_gib(), "available_gib": memory.available_gib()},
                "described": described,
            }
        )
    )
    return 0

"""The digest of everything that configures the gang: what a generation is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping


def digest(parts: Mapping[str, object]) -> str:
    """16 hex digits over named parts; equal parts in any order give equal digits."""
    canonical = json.dumps(parts, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]

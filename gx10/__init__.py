"""Serve one large model from four GX10 hosts, described in one file and kept that way."""

from __future__ import annotations

import sys
from pathlib import Path

# The hosts' package lies beside this one as it lies on a host, and belongs to the same version: wherever this copy
# came from, in a checkout or on the reconciler's host, that one is found.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "files/usr/local/lib"))

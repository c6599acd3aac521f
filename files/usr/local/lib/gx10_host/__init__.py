"""What this package does on hosts, with the standard library alone; the control side imports it as well.

A host has it whole in `/usr/local/lib/gx10_host`. What must run before, or must not depend on what lies there, travels
with the modules that it imports.
"""

from __future__ import annotations

ENTRY = "/usr/local/bin/gx10-host"
"""The one program of a host that units and operations run: `gx10-host VERB ...`."""

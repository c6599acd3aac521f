"""Exit statuses of `gx10-host`, wherever one says more than that it failed."""

from __future__ import annotations

FAILED = 1
"""It could not be done, or not be known; a sentence on standard error says why."""
OTHERWISE = 2
"""What was asked for came out otherwise; of `gx10-host why`: the gang does not serve."""
DAMAGED = 3
"""Of `gx10-host content` and `archive`: content that was looked at is not what its manifest says."""
LATE = 3
"""Of `gx10-host control`: not in time; what was asked for goes on."""
USAGE = 64
INTERRUPTED = 130
NOT_FOUND = 127
"""What a shell says of a program that is not there: nothing was deployed to that host."""

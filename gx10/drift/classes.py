"""What a difference costs to put back: the class that each operation declares beside itself."""

from __future__ import annotations

from enum import StrEnum


class Drift(StrEnum):
    """Class of what an operation finds."""

    HEAL = "heal"
    """Put back at once: nobody who is served notices."""

    RELOAD = "reload"
    """Put back at once, by having a service read its configuration again; connections stay."""

    RESTART = "restart"
    """Needs a restart of the gang: a window, every host, artifacts in place, and no request in flight."""

    REBOOT = "reboot"
    """Needs a reboot of the host, which is its owner's to choose."""

    REPORT = "report"
    """Never touched: driver, kernel, clock, files that somebody added."""

    GANG = "gang"
    """Configures the gang. Put back at once where the running generation is the described one; where the description
    has moved it waits with the restart, so that a rank that dies meanwhile comes back as what its peers are."""


ACTED_ON = frozenset({Drift.HEAL, Drift.RELOAD, Drift.RESTART, Drift.GANG})
"""Classes whose operations change a host; the others tell."""

"""How drift is found and put back every night, and who is told."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field, StringConstraints

from .base import Settings
from .calendar import checked_calendar
from .types import AbsolutePath, HostName, OneLine

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]


def _zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("it must be a time zone of the IANA database, such as Europe/Berlin")
    return name


class Window(Settings):
    """When the gang may be restarted."""

    days: tuple[Day, ...] = Field(default=("mon", "tue", "wed", "thu", "fri", "sat", "sun"), min_length=1)
    """Days on which the window opens. One that passes midnight belongs to the day it opens on."""

    start: TimeOfDay = "02:00"
    """When it opens, on the clock of `reconcile.time_zone`."""

    end: TimeOfDay = "06:00"
    """When it closes; earlier than `start` means the next day. A restart begins only if it can end before."""

    idle_seconds: int = Field(default=10, ge=1)
    """For how long no request may run or wait before the gang is stopped."""

    drain_seconds: int = Field(default=600, ge=1)
    """How long a run waits for that moment; after it, the restart is put off to the next night."""


class Ignore(Settings):
    """A difference that somebody knows of and wants. The three names are patterns as a shell has them."""

    reason: str = Field(min_length=8, examples=["tried out until May"])
    """Why it is left alone; it stands in every report."""

    operation: str = "*"
    """Name of the operation that finds it, with or without its phase."""

    host: str = "*"
    """Name of the host."""

    subject: str = "*"
    """What differs: a path, a unit, a kernel parameter."""


class Reconcile(Settings):
    """The nightly run."""

    enabled: bool = True
    """Whether the deploy installs the reconciler and its timer."""

    node: HostName | None = Field(default=None, examples=["gx10-1"])
    """Host that runs it. Left out: the head."""

    calendar: Annotated[OneLine, AfterValidator(checked_calendar)] = "*-*-* 02:30"
    """When it runs, as systemd's OnCalendar= has it, on the clock of `time_zone`."""

    spread_seconds: int = Field(default=900, ge=0)
    """Random delay of each run, so that several clusters do not begin at the same moment."""

    time_zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    """Time zone of calendar and window."""

    window: Window = Window()
    """When the gang may be restarted."""

    timeout_seconds: int = Field(default=10800, ge=60)
    """How long a run may take, and how long its lock is believed."""

    lock_wait_seconds: int = Field(default=600, ge=0)
    """How long the nightly run waits for somebody else's lock."""

    boot_seconds: int = Field(default=600, ge=0)
    """A night that is made up for after a boot waits until so long after it for hosts that do not answer yet: after a
    power cut all of them boot, and not equally fast."""

    flap_nights: int = Field(default=3, ge=2)
    """A difference that comes back on so many nights in a row is reported and no longer put back."""

    attempts: int = Field(default=3, ge=1)
    """How often in a row something may fail to be put back before a run leaves it alone for some nights."""

    keep: int = Field(default=60, ge=1)
    """Reports that are kept."""

    disk_margin_gib: float = Field(default=20, ge=0)
    """Free space beside `host.min_free_gib` below which a file system is reported."""

    clock_seconds: float = Field(default=5, gt=0)
    """How far a host's clock may be off this node's before it is reported."""

    wheels: AbsolutePath = PurePosixPath("/srv/import/reconcile")
    """Directory on the reconciler's host with the wheels that `make reconcile-wheels` collects."""

    metrics: AbsolutePath = PurePosixPath("/var/lib/prometheus/node-exporter")
    """Where node_exporter looks for text files (`--collector.textfile.directory`)."""

    hook: tuple[str, ...] = Field(default=(), examples=[["/usr/local/bin/tell-me", "--mail"]])
    """Command that gets each report on its standard input, as the reconciler's user. It cannot change the verdict."""

    ignore: tuple[Ignore, ...] = Field(
        default=(), examples=[[{"subject": "vm.swappiness", "reason": "tried out until May"}]]
    )
    """Differences that are known and wanted."""

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of calendar and window."""
        return ZoneInfo(self.time_zone)

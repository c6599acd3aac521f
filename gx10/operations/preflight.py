"""Whether a host is fit, asked before anything on any host is changed."""

from __future__ import annotations

import time

from pyinfra import host

from gx10.described.description import Description
from gx10.described.preflight import COMMANDS, unfit
from gx10.drift.classes import Drift
from gx10.facts import HostOffer

from .loop.asking import Question, ask, survey
from .loop.commands import Commands, refuse
from .loop.declared import operation
from .loop.locking import lock_refusal


@operation(drift=Drift.REPORT)
def host_fit(description: Description, paths: list[str], questions: list[Question]) -> Commands:
    """Ask this host everything, and fail with every reason why it cannot be deployed to; change nothing.

    `paths` are those whose file systems must have room.
    """
    survey(questions)
    offer = ask(HostOffer, paths=paths, commands=list(COMMANDS))
    needed = description.checked.needed_to_start_gib(host.name)
    reasons = list(unfit(offer, description.cluster, host.name, time.time(), needed))
    if reasons:
        yield from refuse(*reasons)
        return
    if host.state.is_executing and (refusal := lock_refusal(description)):
        yield from refuse(refusal)
        return
    host.noop("the host is fit")

"""The cluster's lock, as a deploy by hand takes it: once for the process, before the first change on any host."""

from __future__ import annotations

import atexit
from contextlib import ExitStack

from gevent.event import AsyncResult

from gx10.access.lock import LockHeldError, LockUnknownError, locked
from gx10.control_node import state_directory
from gx10.described.description import Description
from gx10.drift.policy import run_directory

DEPLOY_SECONDS = 6 * 3600
"""How long a deploy is believed to run: the first one builds an image and copies the weights."""
WAIT_SECONDS = 5
"""A deploy that has just ended may still be letting go."""

_asked: list[AsyncResult[str]] = []
"""What the first host that asked was told, or will be: the lock is the process's, one for all hosts."""


def lock_refusal(description: Description) -> str:
    """Hold the cluster's lock until this process ends; returns a sentence when it cannot be had.

    All hosts ask at once, and one of them takes it for all. A run of the reconciler holds it already.
    """
    if run_directory() is not None:
        return ""
    if _asked:
        return _asked[0].get() or ""
    answer: AsyncResult[str] = AsyncResult()
    _asked.append(answer)
    told = _take(description)
    answer.set(told)
    return told


def _take(description: Description) -> str:
    stack = ExitStack()
    cluster = description.cluster.name
    try:
        stack.enter_context(
            locked(description, state_directory(cluster), "a deploy by hand", DEPLOY_SECONDS, WAIT_SECONDS)
        )
    except LockHeldError as error:
        return f"{error}. Wait for it, or run `gx10 unlock` if it is no more."
    except LockUnknownError as error:
        return str(error)
    atexit.register(stack.close)
    return ""

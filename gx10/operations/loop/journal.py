"""Events of a run, one line each: which operation ended where, how, and after how long."""

from __future__ import annotations

import time

from pyinfra.api.host import Host
from pyinfra.api.state import BaseStateCallback, State

from . import invocation
from .declared import goes_on, note


class Events(BaseStateCallback):
    """Notes what pyinfra's own result leaves out: times, and what failed as opposed to what never ran."""

    started: dict[tuple[str, str], float] = {}  # noqa: RUF012 - pyinfra calls these on the class or on its instance

    @staticmethod
    def host_connect_error(state: State, host: Host, error: object) -> None:
        """A host that cannot be logged in to."""
        note(event="unreachable", host=host.name, reason=str(error)[:300])

    @staticmethod
    def operation_host_start(state: State, host: Host, op_hash: str) -> None:
        """An operation begins on a host."""
        Events.started[(host.name, op_hash)] = time.monotonic()
        note(event="begun", host=host.name, operation=_named(state, op_hash))

    @staticmethod
    def operation_host_success(state: State, host: Host, op_hash: str, retry_count: int = 0) -> None:
        """An operation has ended well on a host."""
        Events._ended("done", state, host, op_hash)

    @staticmethod
    def operation_host_error(
        state: State, host: Host, op_hash: str, retry_count: int = 0, max_retries: int = 0
    ) -> None:
        """An operation has failed on a host."""
        Events._ended("failed", state, host, op_hash)

    @staticmethod
    def operation_end(state: State, op_hash: str) -> None:
        """All hosts have ended an operation: the boundary between two."""
        note(event="boundary", operation=_named(state, op_hash))

    @staticmethod
    def _ended(event: str, state: State, host: Host, op_hash: str) -> None:
        seconds = time.monotonic() - Events.started.pop((host.name, op_hash), time.monotonic())
        note(event=event, host=host.name, operation=_named(state, op_hash), seconds=round(seconds, 3))


def _named(state: State, op_hash: str) -> str:
    return ", ".join(sorted(state.op_meta[op_hash].names))


def watch(state: State) -> None:
    """Note the events of this process's run, and answer to whoever interrupts it."""
    if any(isinstance(handler, Events) for handler in state.callback_handlers):
        return
    state.add_callback_handler(Events())  # type: ignore[no-untyped-call]

    def under_way() -> list[invocation.UnderWay]:
        now = time.monotonic()
        return [
            invocation.UnderWay(_named(state, op_hash), host, now - since, goes_on(host))
            for (host, op_hash), since in list(Events.started.items())
        ]

    invocation.under_way = under_way

"""A change that could lock this node out of a host takes itself back, unless a new login proves that it did not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyinfra import logger
from pyinfra.api.command import QuoteString
from pyinfra.connectors.util import CommandOutput
from typing_extensions import override

from gx10.access.remote import run_by

from .commands import Command, Commands

if TYPE_CHECKING:
    from pyinfra.api.arguments import ConnectorArguments
    from pyinfra.api.host import Host
    from pyinfra.api.state import State

UNIT = "gx10-guard"
SECONDS = 60
"""How long a host waits for the login before it takes the change back."""


class NewLogin(Command):
    """Logs in anew, which the connection that made the change proves nothing about, and calls the guard off."""

    def __init__(self, login: Sequence[str]) -> None:
        super().__init__("a new login")
        self.login = login
        """The ssh command that logs in."""

    @override
    def execute(self, state: State, host: Host, connector_arguments: ConnectorArguments) -> tuple[bool, CommandOutput]:
        answer = run_by(self.login, host.name, ["systemctl", "stop", f"{UNIT}.timer"], seconds=SECONDS / 2)
        if not answer.ok:
            logger.error(
                f"{host.print_prefix}{host.name} cannot be logged in to since this change: {answer.reason}. It takes "
                f"the change back within {SECONDS} s; see `journalctl -u {UNIT}` there."
            )
        return answer.ok, CommandOutput([])


def guarded(change: Command, take_back: str, login: Sequence[str]) -> Commands:
    """Make a change; `take_back` is the shell command that the host runs by itself when nobody logs in afterwards.

    `login` is the ssh command that logs in to it.
    """
    words = ["systemd-run", "--quiet", "--collect", f"--unit={UNIT}", f"--on-active={SECONDS}"]
    words += ["--timer-property=AccuracySec=1s", "sh", "-c", take_back]
    yield Command("systemctl", "stop", f"{UNIT}.timer", "2>/dev/null", ";", *(QuoteString(word) for word in words))
    yield change
    yield NewLogin(login)

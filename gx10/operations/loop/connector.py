"""SSH as this package needs it: no Nagle stall, no end of waiting for a host that died, and refusals with a remedy.

pyinfra's own connector leaves Nagle's algorithm on, which costs 40 ms for each remote command. It waits without end for
the output of a command whose host lost its power: nobody says goodbye, and nothing is sent that could be lost. Behind a
ProxyCommand it does so even when that command has ended: paramiko then reads nothing again and again (paramiko #1277).
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyinfra.api.exceptions import ConnectError
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.sshuserclient import client
from pyinfra.connectors.util import CommandOutput, OutputLine
from typing_extensions import Unpack, override

from gx10.access.refused import remedy

from .invocation import ending
from .journal import watch
from .pyinfra_costs import spare

if TYPE_CHECKING:
    from pyinfra.api.arguments import ConnectorArguments
    from pyinfra.api.command import StringCommand

TRACE = "GX10_TRACE_COMMANDS"
"""Environment variable: a file to which each host's number of remote commands is appended as a JSON line."""

LOST_SECONDS = 45
"""Silence of a host's TCP after which its connection is lost; a cable may be out for as long as half a minute."""
SOCKET = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, LOST_SECONDS // 3),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, LOST_SECONDS // 9),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 6),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, LOST_SECONDS * 1000),
)
"""Level, option and value of each option of a connection's socket."""

SILENT = "Is it powered on and is its management cable in? `gx10 status` shows which hosts answer."


class Proxied(socket.socket):
    """A connection by way of a command, of whose end its reader hears."""

    def __init__(self, command: str) -> None:
        ours, theirs = socket.socketpair()
        super().__init__(fileno=ours.detach())
        with theirs:
            end = theirs.fileno()
            # In a group of its own: a Ctrl-C is the run's to answer, which still has something to say to the host.
            self.command = subprocess.Popen(
                shlex.split(command), stdin=end, stdout=end, stderr=subprocess.DEVNULL, process_group=0
            )

    @override
    def close(self) -> None:
        """Close, and leave no process."""
        super().close()
        self.command.terminate()
        self.command.wait()


client.ProxyCommand = Proxied  # type: ignore[misc, assignment]
spare()


class Gx10Connector(SSHConnector):
    """Hosts named `@gx10/NAME`, shown as NAME; takes the same host data as pyinfra's SSH connector."""

    commands = 0

    @override
    @staticmethod
    def make_names_data(name: str) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        """Drop the prefix: the host is called what its owner calls it."""
        yield name, {}, []

    @override
    def connect(self) -> None:
        """Connect; a refusal names host, cause and remedy."""
        # The earliest moment at which pyinfra takes callbacks, and before a refusal that one of them notes.
        watch(self.state)
        try:
            super().connect()
        except ConnectError as error:
            told = str(error)
            what = remedy(told)
            do = f"{what[0].upper()}{what[1:]}." if what else SILENT
            address = self.data["ssh_hostname"] or self.host.name
            raise ConnectError(f"{self.host.name} ({address}) cannot be logged in to: {told}. {do}") from error
        transport = self.client.get_transport() if self.client else None
        connection = transport.sock if transport else None
        # Behind a ProxyCommand or a jump host the connection to the host is not ours: its own options decide.
        if isinstance(connection, socket.socket) and not isinstance(connection, Proxied):
            for level, option, value in SOCKET:
                connection.setsockopt(level, option, value)

    @override
    def run_shell_command(
        self,
        command: StringCommand,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Unpack[ConnectorArguments],
    ) -> tuple[bool, CommandOutput]:
        """Run a command, and count it; where the host is lost meanwhile, the last line of its output says so."""
        self.commands += 1
        done, output = super().run_shell_command(command, print_output, print_input, **arguments)
        if not done and not ending() and not self._connected():
            told = f"{self.host.name}: the connection was lost while a command ran. {SILENT} The next run continues."
            output = CommandOutput([*output.combined_lines, OutputLine("stderr", told)])
        return done, output

    def _connected(self) -> bool:
        transport = self.client.get_transport() if self.client else None
        return bool(transport and transport.is_active())

    @override
    def disconnect(self) -> None:
        """Disconnect, and tell the number of commands to whoever measures."""
        super().disconnect()
        if trace := os.environ.get(TRACE):
            with Path(trace).open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"host": self.host.name, "commands": self.commands}) + "\n")

"""SSH as this package needs it: no Nagle stall, and a refusal that says what to do.

pyinfra's own connector leaves Nagle's algorithm on, which costs 40 ms for each remote command.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyinfra.api.exceptions import ConnectError
from pyinfra.connectors.ssh import SSHConnector
from typing_extensions import Unpack, override

from gx10.operations.journal import watch

if TYPE_CHECKING:
    from pyinfra.api.arguments import ConnectorArguments
    from pyinfra.api.command import StringCommand
    from pyinfra.connectors.util import CommandOutput

TRACE = "GX10_TRACE_COMMANDS"
"""Environment variable: a file to which each host's number of remote commands is appended as a JSON line."""

REMEDIES = {
    "Authentication error": "Put this node's public key into that user's authorized_keys, or name the right key in"
    " the cluster file under access.key.",
    "SSH host key error": "The host was reinstalled or is another one: compare its key on its console, then correct"
    " the known hosts file.",
    "No host key": "Log in once with ssh to accept its key, or add it to the known hosts file.",
    "Could not resolve hostname": "Correct the host's address in the cluster file.",
    "": "Is it powered on and is its management cable in? `gx10 status` shows which hosts answer.",
}


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
            remedy = next(remedy for sign, remedy in REMEDIES.items() if sign in told)
            address = self.data["ssh_hostname"] or self.host.name
            raise ConnectError(f"{self.host.name} ({address}) cannot be logged in to: {told}. {remedy}") from error
        transport = self.client.get_transport() if self.client else None
        # Behind a ProxyCommand there is no socket of ours: the command's own decides.
        if transport and isinstance(transport.sock, socket.socket):
            transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @override
    def run_shell_command(
        self,
        command: StringCommand,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Unpack[ConnectorArguments],
    ) -> tuple[bool, CommandOutput]:
        """Run a command, and count it."""
        self.commands += 1
        return super().run_shell_command(command, print_output, print_input, **arguments)

    @override
    def disconnect(self) -> None:
        """Disconnect, and tell the number of commands to whoever measures."""
        super().disconnect()
        if trace := os.environ.get(TRACE):
            with Path(trace).open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"host": self.host.name, "commands": self.commands}) + "\n")

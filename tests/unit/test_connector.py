"""A connection that stalls for no small packet, and ends when its host is gone."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest
from pyinfra.api.command import StringCommand
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.sshuserclient import client
from pyinfra.connectors.util import CommandOutput, OutputLine

from gx10.operations.loop.connector import LOST_SECONDS, Gx10Connector, Proxied


def connector(transport: object) -> Gx10Connector:
    """A connector of a host, with a client that has this transport."""
    made = Gx10Connector.__new__(Gx10Connector)
    made.state, made.host = SimpleNamespace(callback_handlers=[]), SimpleNamespace(name="gx10-3")  # type: ignore[assignment]
    made.client = SimpleNamespace(get_transport=lambda: transport)  # type: ignore[assignment]
    return made


def test_a_connection_ends_when_its_host_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SSHConnector, "connect", lambda _: None)
    monkeypatch.setattr("gx10.operations.loop.connector.watch", lambda _: None)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as ours:
        connector(SimpleNamespace(sock=ours)).connect()
        told = {
            name: ours.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
            for name in ("TCP_NODELAY", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
        }
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert told["TCP_NODELAY"]
    assert told["TCP_KEEPIDLE"] + told["TCP_KEEPINTVL"] * told["TCP_KEEPCNT"] == LOST_SECONDS
    assert told["TCP_USER_TIMEOUT"] == LOST_SECONDS * 1000


@pytest.mark.parametrize("active", [True, False])
def test_a_command_whose_host_was_lost_says_so(monkeypatch: pytest.MonkeyPatch, active: bool) -> None:
    output = CommandOutput([OutputLine("stdout", "1 of 2 MB")])
    monkeypatch.setattr(SSHConnector, "run_shell_command", lambda *_, **__: (False, output))
    made = connector(SimpleNamespace(is_active=lambda: active))
    done, told = made.run_shell_command(StringCommand("true"))
    assert not done
    assert [line for line in told.stderr_lines if "gx10-3: the connection was lost" in line] == (
        [] if active else [told.output_lines[-1]]
    )


def test_a_connection_by_a_command_ends_with_it() -> None:
    assert client.ProxyCommand is Proxied
    with Proxied("sh -c 'read word; echo $word; exit 1'") as connection:
        connection.settimeout(5)
        connection.sendall(b"hello\n")
        assert connection.recv(100) == b"hello\n"
        assert connection.recv(100) == b""
    assert connection.command.returncode == 1


def test_a_connection_by_a_command_ends_it() -> None:
    with Proxied("sleep 60") as connection:
        pass
    assert connection.command.returncode == -15

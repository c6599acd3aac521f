"""An SSH server on loopback whose commands run on this machine: a host as pyinfra's connection sees it.

`python -m tests.unit.ssh_server DIRECTORY` writes `port`, `key` and `known_hosts` there and serves until it is killed.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path

import paramiko
from typing_extensions import override


class Everybody(paramiko.ServerInterface):
    """Lets any key in, and runs what it is told."""

    def __init__(self) -> None:
        self.commands: dict[int, bytes] = {}
        self.told = threading.Event()

    @override
    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    @override
    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.common.AUTH_SUCCESSFUL

    @override
    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.common.OPEN_SUCCEEDED

    @override
    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=_run, args=(channel, command), daemon=True).start()
        return True


def _run(channel: paramiko.Channel, command: bytes) -> None:
    done = subprocess.run(["sh", "-c", command.decode()], capture_output=True, stdin=subprocess.DEVNULL, check=False)
    try:
        channel.sendall(done.stdout)
        channel.sendall_stderr(done.stderr)
        channel.send_exit_status(done.returncode)
        channel.close()
    except OSError:  # whoever asked is gone
        return


def serve(directory: Path) -> None:
    """Serve until this process is killed."""
    key = paramiko.ECDSAKey.generate()
    key.write_private_key_file(str(directory / "key"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (directory / "known_hosts").write_text(f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n")
        (directory / "port.partial").write_text(str(port))
        (directory / "port.partial").rename(directory / "port")
        transports = []
        while True:
            connection, _ = server.accept()
            transport = paramiko.Transport(connection)
            transport.add_server_key(key)
            transport.start_server(server=Everybody())
            transports.append(transport)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))

"""How one logs in to the lab's hosts: keys, known hosts and an ssh configuration that enters the lab's network."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from .names import LabNames
from .network import NAMESPACES
from .plan import HostPlan, LabPlan
from .shell import must


@dataclass(frozen=True)
class Access:
    """The ssh files of one lab."""

    names: LabNames
    plan: LabPlan

    @property
    def identity(self) -> Path:
        """The private key that opens every host."""
        return self.names.ssh / "id_ed25519"

    @property
    def public_key(self) -> str:
        """The line for the hosts' authorized_keys."""
        return self.identity.with_suffix(".pub").read_text()

    def host_key(self, host: HostPlan) -> Path:
        """The private key by which the host is known."""
        return self.names.ssh / "host_keys" / host.name

    def create(self) -> None:
        """Make the keys once, and write known hosts and configuration whenever they are not as described."""
        if not self.names.ssh.is_dir():
            partial = self.names.state / "ssh.partial"
            shutil.rmtree(partial, ignore_errors=True)
            (partial / "host_keys").mkdir(parents=True, mode=0o700)
            partial.chmod(0o700)
            _make_key(partial / "id_ed25519", f"{self.names.lab} login")
            partial.rename(self.names.ssh)
        for host in self.plan.hosts:
            # Also of hosts that join a lab which is there already.
            if not self.host_key(host).with_suffix(".pub").is_file():
                self.host_key(host).unlink(missing_ok=True)
                _make_key(self.host_key(host), host.name)
        _write_if_different(self.names.ssh / "known_hosts", self.known_hosts())
        _write_if_different(self.names.ssh_config, self.config())

    def known_hosts(self) -> str:
        """Every host's public key under its name and its management address."""
        lines = []
        for host in self.plan.hosts:
            kind, key = self.host_key(host).with_suffix(".pub").read_text().split()[:2]
            lines.append(f"{host.name},{host.management} {kind} {key}\n")
        return "".join(lines)

    def config(self) -> str:
        """The ssh configuration, with absolute paths: it works from any directory."""
        namespace = NAMESPACES / self.names.lab
        blocks = [f"Host {host.name} {host.management}\n  HostName {host.management}\n" for host in self.plan.hosts]
        everybody = " ".join(f"{host.name} {host.management}" for host in self.plan.hosts)
        blocks.append(
            f"Host {everybody}\n"
            "  User root\n"
            f'  IdentityFile "{self.identity}"\n'
            "  IdentitiesOnly yes\n"
            f'  UserKnownHostsFile "{self.names.ssh / "known_hosts"}"\n'
            "  StrictHostKeyChecking yes\n"
            "  HostKeyAlgorithms ssh-ed25519\n"
            "  ConnectTimeout 10\n"
            f"  ProxyCommand nsenter --net={namespace} socat -b 65536 - "
            # Options as gx10/operations/loop/connector.py sets them on a socket of its own; 6:18 is TCP_USER_TIMEOUT.
            "TCP:%h:%p,nodelay,connect-timeout=10,keepalive,keepidle=15,keepintvl=5,keepcnt=6,setsockopt=6:18:i45000\n"
        )
        return "\n".join(blocks)

    def command(self, host: HostPlan) -> list[str]:
        """The ssh command line up to the host, for scripts: it never asks."""
        return ["ssh", "-F", str(self.names.ssh_config), "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", host.name]


def _make_key(path: Path, comment: str) -> None:
    must(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)], f"make the ssh key {path}")


def _write_if_different(path: Path, text: str) -> None:
    if path.is_file() and path.read_text() == text:
        return
    partial = path.with_name(f"{path.name}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    partial.rename(path)

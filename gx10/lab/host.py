"""One host: its disk, its power and whether it answers."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from . import kept_archive, rootfs
from .access import Access
from .cache import import_directory
from .control_group import ControlGroup
from .errors import LabError
from .names import LabNames
from .network import NAMESPACES, Network
from .plan import HostPlan, LabPlan

_LAUNCH = """
echo 0 > "$GROUP/launcher/cgroup.procs" || exit 1
while :; do
    unshare --mount --propagation slave sh -euc "$CARRY" carry "$@"
    test $? -eq 133 || break
    ip netns exec "$MACHINE" nft flush ruleset
done
echo 1 > "$GROUP/host/cgroup.kill"
for cable in $CABLES; do ip -n "$LAB" link delete "$cable"; done
ip netns delete "$MACHINE"
"""
"""Waits for the host to end. 133 is nspawn's word for a reboot from inside; the namespace stays, its firewall does not.
One that switched itself off must not stay on the network as an address without a host."""

_CARRY = """
echo 0 > "$GROUP/host/cgroup.procs"
mount -t overlay -o "lowerdir=$LOWER,upperdir=$DISK/upper,workdir=$DISK/work,index=off" "$MACHINE" "$DISK/root"
mkdir -p /run/systemd/nspawn
mount -t tmpfs -o size=1M "$MACHINE" /run/systemd/nspawn
exec systemd-nspawn "$@"
"""
"""Mounts the host's disk where only the host sees it: with its last process the mount is gone, whatever happened.

The small file system keeps the lock files that a killed nspawn leaves behind out of the machine's /run.
"""

_DISK_PARTS = ("upper", "work", "root", "docker", "models")


@dataclass(frozen=True)
class Host:
    """One host of one lab."""

    names: LabNames
    network: Network
    access: Access
    host: HostPlan

    @classmethod
    def of(cls, names: LabNames, plan: LabPlan, host: HostPlan) -> Host:
        """The host of the lab with these names."""
        return cls(names, Network(names, plan), Access(names, plan), host)

    @property
    def group(self) -> ControlGroup:
        """All processes of the host."""
        return ControlGroup(self.names.machine(self.host))

    @property
    def is_on(self) -> bool:
        """Whether the host has power."""
        return self.group.host_lives

    @property
    def is_whole(self) -> bool:
        """Whether the host has power and both its cables: False after a crash of what should have wired it."""
        processes = list(self.group.processes()) if self.is_on else []
        return any(self.network.is_connected(self.host, process) for process in processes)

    def install(self, root: str) -> None:
        """Give the host a disk over the root file system with this digest, unless it has one; whole or not at all."""
        disk = self.names.disk(self.host)
        if disk.is_dir():
            return
        partial = disk.with_name(f"{disk.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        for part in _DISK_PARTS:
            (partial / part).mkdir(parents=True)
            (partial / part).chmod(0o755)
        (partial / "rootfs").write_text(f"{root}\n")
        upper = partial / "upper"
        for name, mode, text in self._first_files():
            file = upper / name
            for parent in reversed(file.relative_to(upper).parents):
                (upper / parent).mkdir(exist_ok=True)
                (upper / parent).chmod(0o700 if parent.parts[:1] == ("root",) else 0o755)
            file.write_text(text)
            file.chmod(mode)
        if self.host.is_head:
            kept_archive.restore(upper / kept_archive.ARCHIVE, self.names.state / kept_archive.CONTROL)
        partial.rename(disk)

    def _first_files(self) -> list[tuple[str, int, str]]:
        """What tells this host from its siblings before its first boot: path, mode, text."""
        name = self.host.name
        key = self.access.host_key(self.host)
        return [
            ("etc/hostname", 0o644, f"{name}\n"),
            # As Debian's installer writes it. That the other hosts have names is the deploy's work.
            ("etc/hosts", 0o644, f"127.0.0.1\tlocalhost\n127.0.1.1\t{name}\n::1\tlocalhost ip6-localhost\n"),
            ("etc/machine-id", 0o444, f"{os.urandom(16).hex()}\n"),
            ("etc/ssh/ssh_host_ed25519_key", 0o600, key.read_text()),
            ("etc/ssh/ssh_host_ed25519_key.pub", 0o644, key.with_suffix(".pub").read_text()),
            ("root/.ssh/authorized_keys", 0o600, self.access.public_key),
        ]

    def power_on(self) -> None:
        """Boot the host from its disk; returns as soon as it is started. A host that is on stays as it is."""
        if self.is_whole:
            return
        self.power_off()
        lower = self._root_file_system()
        group = self.group
        group.create()
        self.network.connect(self.host)
        disk = self.names.disk(self.host)
        machine = self.names.machine(self.host)
        environment = {
            "PATH": os.environ["PATH"],
            "GROUP": str(group.path),
            "LAB": self.names.lab,
            "MACHINE": machine,
            "CABLES": " ".join(network.cable(self.host.number) for network in self.network.plan.networks),
            "CARRY": _CARRY,
            "LOWER": str(lower),
            "DISK": str(disk),
            # Else the version 1 controllers of a hybrid machine are read-only inside and no container starts.
            "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
            # Else dockerd cannot set ip_forward and ends.
            "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
            # /tmp is on the disk, as on DGX OS.
            "SYSTEMD_NSPAWN_TMPFS_TMP": "0",
        }
        console = self.names.console(self.host)
        console.parent.mkdir(parents=True, exist_ok=True)
        with console.open("ab") as log:
            # Twice forked: the host is nobody's child, neither of a terminal nor of a test that runs on.
            subprocess.run(
                ["setsid", "--fork", "sh", "-uc", _LAUNCH, "launch", *self._nspawn_options(machine, disk)],
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                umask=0o022,
                check=True,
            )
        self._wait_for_launcher()

    def _wait_for_launcher(self, timeout_seconds: float = 10) -> None:
        """Return once whoever looks finds the host alive."""
        deadline = time.monotonic() + timeout_seconds
        while not self.group.lives:
            if time.monotonic() > deadline:
                raise LabError(self._silence(""))
            time.sleep(0.002)

    @property
    def installed_from(self) -> str:
        """Digest of the root file system below the host's disk."""
        mark = self.names.disk(self.host) / "rootfs"
        if not mark.is_file():
            raise LabError(f"{self.host.name} has not been installed yet: run `gx10 lab up`.")
        return mark.read_text().strip()

    def _root_file_system(self) -> Path:
        lower = rootfs.path_of(self.installed_from)
        if not lower.is_dir():
            raise LabError(
                f"The root file system {lower} that {self.host.name} was installed from is gone from the cache: run "
                "`gx10 lab down` and `gx10 lab up` to install the host afresh."
            )
        return lower

    def _nspawn_options(self, machine: str, disk: Path) -> list[str]:
        options = [
            f"--directory={disk / 'root'}",
            f"--machine={machine}",
            f"--hostname={self.host.name}",
            "--boot",
            "--keep-unit",
            "--register=no",
            "--settings=no",
            "--console=pipe",
            f"--network-namespace-path={NAMESPACES / machine}",
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
            # What Docker needs: it builds namespaces, mounts, device filters and keyrings of its own.
            "--capability=all",
            "--system-call-filter=@keyring",
            "--system-call-filter=bpf",
            # A plain directory: on an overlay Docker falls back to the slow vfs driver.
            f"--bind={disk / 'docker'}:/var/lib/docker",
            # A mount point of its own, as the model partition of a GX10 is.
            f"--bind={disk / 'models'}:/srv/models",
        ]
        if self.host.is_head:
            options.append(f"--bind-ro={import_directory()}:/srv/import")
        return options

    def power_off(self) -> None:
        """Cut the power: off the network first, as a dead host says no goodbye, then every process at once."""
        self.network.disconnect(self.host)
        self.group.kill()

    def wait_until_it_answers(self, timeout_seconds: float = 90) -> None:
        """Return once the host answers ssh and its Docker answers; LabError with the console's last lines if not."""
        deadline = time.monotonic() + timeout_seconds
        asked = "timeout 60 sh -c 'until docker info >/run/lab-docker-info 2>&1; do sleep 0.1; done'"
        while True:
            done = subprocess.run(
                [*self.access.command(self.host), asked],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode == 0:
                return
            if time.monotonic() > deadline or not self.group.lives:
                raise LabError(self._silence(done.stderr.strip()))
            time.sleep(0.1)

    def _silence(self, ssh_said: str) -> str:
        name = self.host.name
        console = self.names.console(self.host)
        last = console.read_text(errors="replace").splitlines()[-5:] if console.is_file() else []
        state = "is on but does not answer ssh and Docker" if self.group.lives else "went off while it booted"
        return (
            f"{name} {state}; ssh said: {_on_one_line(ssh_said.splitlines())}. "
            f"Its console ({console}) ends with: {_on_one_line(last)}. "
            f"Try `gx10 lab power-off {name}` and `gx10 lab power-on {name}`."
        )


def _on_one_line(lines: list[str]) -> str:
    return " / ".join(lines) or "nothing"

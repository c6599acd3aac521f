"""The root file system that all hosts of all labs start from: built once, kept in the cache, never written again."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

from .cache import cache_directory, locked
from .errors import LabError
from .progress import Progress
from .removal import remove_tree
from .shell import must

SUITE = "trixie"
"""Nearer to DGX OS 7 (systemd 255, Docker 28) than bookworm; its `docker save` writes content-addressed layers."""

# rsync is there to be raced by `make bench-weights`: no host needs it.
# fmt: off
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "openssh-server", "docker.io", "docker-cli", "docker-buildx", "python3",
    "iproute2", "nftables", "rsync", "zstd", "aria2", "curl", "procps", "kmod", "iputils-ping", "ca-certificates",
    "sudo",
)
# fmt: on

MASKED_UNITS = (
    # Belongs to the machine: its failure alone would make a healthy host "degraded".
    "systemd-modules-load.service",
    "systemd-pstore.service",
    "fstrim.timer",
    # Nobody sits at a console.
    "getty.target",
    "console-getty.service",
    # The lab gives each host its one key; without this every first boot makes three more.
    "sshd-keygen.service",
    # A host has no Internet, and what runs by itself disturbs measurements.
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    # Addresses come with the cables: see gx10.lab.network.
    "systemd-networkd.service",
    "systemd-networkd.socket",
    # DGX OS keeps /tmp on disk; here a tmpfs would be the memory of all four hosts.
    "tmp.mount",
)

FILES = {
    "etc/ssh/sshd_config.d/10-lab.conf": (
        "PermitRootLogin prohibit-password\n"
        "PasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\n"
        "HostKey /etc/ssh/ssh_host_ed25519_key\n"
        # Provisioning opens many sessions at once; sshd starts to drop connections at 10.
        "MaxStartups 100\n"
        "MaxSessions 100\n"
    ),
    # Persistent, so that the log of a boot that ended in a power cut can be read in the next.
    "etc/systemd/journald.conf.d/10-lab.conf": "[Journal]\nStorage=persistent\nSystemMaxUse=64M\nRuntimeMaxUse=16M\n",
    "etc/resolv.conf": "# No name server: a lab host has no way out.\n",
}

REMOVED = (
    "etc/ssh/ssh_host_*",
    "etc/hostname",
    "etc/machine-id",
    "var/lib/dbus/machine-id",
    "usr/share/doc/*",
    "usr/share/man/*",
    "usr/share/locale/*",
    "var/log/*.log",
    "var/log/apt",
)

_MADE_BY = 1
"""Counts changes to `_furnish` that the lists above do not show."""


def digest() -> str:
    """Names the root file system by everything that shapes it, 12 hex digits."""
    inputs = [_MADE_BY, SUITE, PACKAGES, MASKED_UNITS, FILES, REMOVED]
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]


def path_of(name: str) -> Path:
    """Where the cache keeps the root file system with this digest."""
    return cache_directory() / f"rootfs-{name}"


def ensure(progress: Progress) -> str:
    """Build the root file system unless the cache has it; returns its digest."""
    name = digest()
    final = path_of(name)
    if final.is_dir():
        return name
    with locked(cache_directory() / "rootfs.lock") as lock:
        if final.is_dir():
            return name
        for leftover in cache_directory().glob("rootfs-*.partial"):
            remove_tree(leftover)
        partial = final.with_name(f"{final.name}.partial")
        with progress.step("rootfs", f"Debian {SUITE} from the mirror (once, about 40 s)"):
            _bootstrap(partial, lock)
            _furnish(partial)
            must(["sync", "--file-system", str(partial)], "write the root file system to disk")
            partial.rename(final)
    return name


def _bootstrap(target: Path, lock: int) -> None:
    """Let mmdebstrap fill `target` from the mirrors that Debian's own defaults name.

    It inherits the lock: when this process is killed it goes on for a while, and nobody may build beside it.
    """
    log = cache_directory() / "rootfs.log"
    argv = ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(target)]
    with log.open("w") as stream:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, pass_fds=[lock], check=False
        )
    if done.returncode != 0:
        errors = [line for line in log.read_text().splitlines() if line.startswith(("E:", "W:"))]
        raise LabError(
            f"mmdebstrap could not build the hosts' root file system (exit status {done.returncode}): "
            f"{' '.join(errors[:3]) or 'no reason given'}. Its log is {log}; check that this machine reaches a Debian "
            "mirror (http://deb.debian.org) and run `gx10 lab up` again."
        )


def _furnish(root: Path) -> None:
    """Turn a Debian tree into what every host starts from."""
    for pattern in REMOVED:
        for found in root.glob(pattern):
            if found.is_dir() and not found.is_symlink():
                shutil.rmtree(found)
            else:
                found.unlink()
    units = root / "etc/systemd/system"
    for unit in MASKED_UNITS:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    for name, text in FILES.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.write_text(text)
    # Newer than /usr: the first boot has no caches to rebuild.
    for marker in ("etc/.updated", "var/.updated"):
        (root / marker).touch()

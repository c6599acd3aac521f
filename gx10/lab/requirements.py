"""What a lab needs of its machine, asked before anything is touched; all that is missing is told together."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from .cache import cache_directory
from .control_group import unified_root
from .errors import LabError
from .mounts import file_system_of, mounted
from .names import LabNames
from .plan import LabPlan
from .shell import succeeds

PACKAGE_OF = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "gpgv": "gpgv",
    "ip": "iproute2",
    "nft": "nftables",
    "socat": "socat",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}
"""Commands the lab runs, and the Debian and Ubuntu package of each."""

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

_ROOTFS_GB = 2
"""The root file system, its build and some air, in 10^9 bytes."""

_UNFIT_FILE_SYSTEMS = {"overlay", "tmpfs", "ramfs", "nfs", "nfs4", "cifs", "9p", "fuse", "fuseblk", "vfat", "virtiofs"}
"""Docker's overlay2 and the hosts' own overlay need a local disk below them."""


def check(names: LabNames, plan: LabPlan) -> None:
    """Raise one LabError with a sentence for everything that is missing."""
    check_root()  # the other checks could not even look
    sentences = [*_packages(), *_kernel(), *_place(names), *_disk(names, plan)]
    if sentences:
        raise LabError.of_many(sentences)


def check_root() -> None:
    """Raise LabError unless this process is root's."""
    if os.geteuid() != 0:
        raise LabError("The lab makes and enters namespaces, which takes root: run the command again with `sudo`.")


def missing_packages(present: dict[str, bool]) -> list[str]:
    """Packages to install, given which commands are there."""
    return sorted({PACKAGE_OF[command] for command, there in present.items() if not there})


def _packages() -> Iterator[str]:
    present = {command: shutil.which(command) is not None for command in PACKAGE_OF}
    packages = missing_packages(present)
    commands = ", ".join(command for command, there in present.items() if not there)
    if packages:
        yield f"Commands are missing: {commands}. Install them with `apt-get install {' '.join(packages)}`."
    if not KEYRING.is_file():
        yield (
            f"{KEYRING}, Debian's signing keys for the hosts' root file system, is missing. Install it with `apt-get "
            "install debian-archive-keyring`."
        )


def _kernel() -> Iterator[str]:
    if unified_root() is None:
        yield (
            "No unified control group hierarchy is mounted at /sys/fs/cgroup or /sys/fs/cgroup/unified, and every host "
            "needs one. Boot with `systemd.unified_cgroup_hierarchy=1`, or `mount -t cgroup2 cgroup2 "
            "/sys/fs/cgroup/unified`."
        )
    release = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])
    if release < (5, 14):
        yield f"The kernel is {os.uname().release}; the lab needs 5.14 or newer, for cgroup.kill. Boot a newer kernel."
    if "\toverlay\n" not in Path("/proc/filesystems").read_text() and not succeeds(["modprobe", "overlay"]):
        yield "The kernel cannot mount overlay file systems: load the module with `modprobe overlay`."
    probe = "ip link add name probe0 type bridge && ip link add name probe1 type veth peer name probe2"
    if shutil.which("ip") and not succeeds(["unshare", "--net", "sh", "-c", probe]):
        yield (
            "The kernel refuses a network namespace with a bridge and a veth pair: load the modules with `modprobe -a "
            "bridge veth`; in a container, run the lab on the machine itself."
        )
    if shutil.which("nft") and not succeeds(["unshare", "--net", "nft", "add", "table", "inet", "probe"]):
        yield "The kernel refuses nftables rules, which Docker needs: load the module with `modprobe nf_tables`."


def _place(names: LabNames) -> Iterator[str]:
    for path in (names.checkout, cache_directory()):
        if unfit := sorted(set(str(path)) & set(':,\\"\n')):
            yield (
                f"The path {path} contains {' and '.join(map(repr, unfit))}, which mount options cannot carry: use a "
                "directory with another name."
            )
    if not names.checkout.is_dir():
        yield f"{names.checkout} is no directory: name an existing checkout."
        return
    kind = file_system_of(names.checkout, mounted())
    if kind in _UNFIT_FILE_SYSTEMS:
        yield (
            f"{names.checkout} is on a {kind} file system, and the hosts' disks cannot live there: put the checkout on "
            "ext4, xfs or btrfs."
        )


def _disk(names: LabNames, plan: LabPlan) -> Iterator[str]:
    if names.checkout.is_dir() and not names.hosts.is_dir():
        # Hosts that exist have taken their share already.
        yield from short_of_disk(
            names.state, shutil.disk_usage(names.checkout).free, plan.required_free_gb, "the hosts"
        )
    if not any(cache_directory().glob("rootfs-????????????")):
        free = shutil.disk_usage(cache_directory()).free
        yield from short_of_disk(cache_directory(), free, _ROOTFS_GB, "the root file system")


def short_of_disk(where: Path, free_bytes: int, needed_gb: int, what: str) -> Iterator[str]:
    """A sentence when fewer than `needed_gb` times 10^9 bytes are free."""
    if free_bytes < needed_gb * 10**9:
        yield (
            f"{where} has {free_bytes / 1e9:.1f} GB free; {what} need {needed_gb} GB there. Free "
            f"{needed_gb - free_bytes / 1e9:.1f} GB, or move to a larger disk."
        )

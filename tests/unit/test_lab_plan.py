"""The lab's plan and names, its file system's identity and its sentences, without root and without a host."""

from __future__ import annotations

from pathlib import Path

import pytest

from gx10.lab import requirements, rootfs
from gx10.lab.access import Access
from gx10.lab.errors import LabError
from gx10.lab.lab import Lab
from gx10.lab.mounts import file_system_of, mounts_under, parse
from gx10.lab.names import LabNames
from gx10.lab.plan import LabPlan

PLAN = LabPlan()

MOUNTINFO = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 27 0:30 / /srv/my\\040labs rw shared:3 - xfs /dev/vdb rw
31 30 0:31 / /srv/my\\040labs/é/.lab/hosts rw - overlay overlay rw
32 30 0:32 / /srv/my\\040labs/é/.labs rw - tmpfs tmpfs rw
33 31 0:33 / /srv/my\\040labs/é/.lab/hosts/a/docker rw - ext4 /dev/vda rw
"""


def test_the_plan_names_four_hosts_and_their_addresses() -> None:
    assert [(host.name, host.management, host.fabric) for host in PLAN.hosts] == [
        (f"gx10-{number}", f"10.77.0.1{number}", f"10.77.1.1{number}") for number in (1, 2, 3, 4)
    ]
    assert [host.name for host in PLAN.hosts if host.is_head] == ["gx10-1"]
    assert (PLAN.management.interface, PLAN.fabric.interface) == ("mgmt0", "fabric0")


def test_no_two_interfaces_share_a_hardware_address_or_a_cable() -> None:
    ends = [(network, host.number) for network in PLAN.networks for host in PLAN.hosts]
    assert len({network.hardware_address(number) for network, number in ends}) == 8
    assert len({network.cable(number) for network, number in ends}) == 8
    # The kernel refuses longer names, and a MAC address whose first octet is odd is a group's.
    assert all(len(network.cable(number)) <= 15 for network, number in ends)
    assert all(int(network.hardware_address(number)[:2], 16) % 2 == 0 for network, number in ends)


def test_an_unknown_host_or_network_is_refused_with_the_known_ones() -> None:
    assert PLAN.host("10.77.0.13").name == "gx10-3"
    with pytest.raises(LabError, match=r"'gx10-5'.*gx10-1, gx10-2, gx10-3, gx10-4"):
        PLAN.host("gx10-5")
    with pytest.raises(LabError, match=r"'rdma'.*management and fabric"):
        PLAN.network("rdma")


def test_every_checkout_has_a_lab_of_its_own(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.symlink_to(first)
    assert LabNames.for_checkout(first).lab == LabNames.for_checkout(second).lab, "one checkout under two names"
    assert LabNames.for_checkout(first).lab != LabNames.for_checkout(tmp_path).lab
    # nspawn takes machine names of at most 64 characters.
    assert all(len(LabNames.for_checkout(first).machine(host)) <= 64 for host in PLAN.hosts)


def test_the_root_file_system_is_named_by_what_shapes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = rootfs.digest()
    assert before == rootfs.digest()
    monkeypatch.setattr(rootfs, "PACKAGES", (*rootfs.PACKAGES, "strace"))
    assert rootfs.digest() != before


def test_the_ssh_configuration_matches_hosts_by_name_and_by_address(tmp_path: Path) -> None:
    names = LabNames.for_checkout(tmp_path)
    config = Access(names, PLAN).config()
    assert "Host gx10-2 10.77.0.12\n  HostName 10.77.0.12\n" in config
    assert f"ProxyCommand nsenter --net=/run/netns/{names.lab} " in config
    for line in ("StrictHostKeyChecking yes", "IdentitiesOnly yes", "ConnectTimeout 10", "User root"):
        assert f"  {line}\n" in config
    assert f'IdentityFile "{tmp_path}/.lab/ssh/id_ed25519"' in config
    assert f'UserKnownHostsFile "{tmp_path}/.lab/ssh/known_hosts"' in config


def test_missing_commands_become_one_list_of_packages() -> None:
    present = dict.fromkeys(requirements.PACKAGE_OF, True)
    assert requirements.missing_packages(present) == []
    present |= {"ssh": False, "ssh-keygen": False, "socat": False}
    assert requirements.missing_packages(present) == ["openssh-client", "socat"]


def test_short_disk_is_told_with_place_amount_and_need() -> None:
    assert list(requirements.short_of_disk(Path("/x"), 45 * 10**9, 45, "the hosts")) == []
    [sentence] = requirements.short_of_disk(Path("/x/.lab"), 30 * 10**9, 45, "the hosts")
    assert sentence == ("/x/.lab has 30.0 GB free; the hosts need 45 GB there. Free 15.0 GB, or move to a larger disk.")


def test_all_that_is_missing_is_told_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = tmp_path / "with,comma"
    place.mkdir()
    monkeypatch.setenv("GX10_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(
        "shutil.which", lambda command: None if command in {"socat", "mmdebstrap"} else f"/bin/{command}"
    )
    monkeypatch.setattr(requirements, "succeeds", lambda argv: True)
    with pytest.raises(LabError) as refused:
        requirements.check(LabNames.for_checkout(place), LabPlan(required_free_gb=10**6))
    told = str(refused.value)
    assert "Commands are missing: mmdebstrap, socat. Install them with `apt-get install mmdebstrap socat`." in told
    assert "','" in told
    assert "1000000 GB" in told


def test_the_lab_refuses_without_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(LabError, match="sudo"):
        requirements.check(LabNames.for_checkout(tmp_path), PLAN)


def test_a_mount_below_a_directory_is_seen_whatever_its_name() -> None:
    mounts = parse(MOUNTINFO)
    assert mounts_under(Path("/srv/my labs/é/.lab"), mounts) == [
        Path("/srv/my labs/é/.lab/hosts/a/docker"),
        Path("/srv/my labs/é/.lab/hosts"),
    ]
    assert mounts_under(Path("/srv/my labs/é/.la"), mounts) == []


def test_the_file_system_of_a_path_is_that_of_the_nearest_mount() -> None:
    mounts = parse(MOUNTINFO)
    assert file_system_of(Path("/srv/other"), mounts) == "ext4"
    assert file_system_of(Path("/srv/my labs/x"), mounts) == "xfs"
    assert file_system_of(Path("/srv/my labs/é/.labs/x"), mounts) == "tmpfs"


def test_a_lab_has_as_many_hosts_as_there_are_or_were_asked_for(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    lab = Lab.for_checkout(tmp_path)
    assert (lab.existing, len(lab.plan.hosts)) == (0, 4)
    assert [host.name for host in lab.of(2).plan.hosts] == ["gx10-1", "gx10-2"]
    for name in ("gx10-1", "gx10-2"):
        (lab.names.hosts / name).mkdir(parents=True)
    assert len(Lab.for_checkout(tmp_path).plan.hosts) == 2
    assert len(Lab.for_checkout(tmp_path).of(3).plan.hosts) == 3
    with pytest.raises(LabError, match=r"The lab has 2 hosts\. `gx10 lab down` removes them"):
        Lab.for_checkout(tmp_path).of(1)

"""What the lab promises about its hosts, shown on hosts of labs of their own: the checkout's lab is left alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gx10.lab.errors import LabError
from gx10.lab.host import Host
from gx10.lab.lab import Lab
from gx10.lab.names import LabNames
from gx10.lab.plan import LabPlan

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="the lab needs root")]

REPOSITORY = Path(__file__).resolve().parents[2]
HOSTS = ("gx10-1", "gx10-2", "gx10-3", "gx10-4")
# Empty hosts: what a deployment would take is not needed here.
PLAN = LabPlan(required_free_gb=5)
SOAK = pytest.mark.soak


def traces(names: LabNames) -> list[str]:
    """Everything on this machine that carries the lab's id or its path: files, mounts, groups, processes."""
    found = [str(path) for path in Path("/run/netns").glob(f"{names.lab}*")]
    found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{names.lab}*")]
    found += [str(path) for path in Path("/run/systemd").glob(f"**/*{names.lab}*")]
    found += [str(names.state)] if names.state.exists() else []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            told = (process / "cgroup").read_text() + (process / "mountinfo").read_text()
            told += (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if names.lab in told or str(names.state) in told:
            found.append(f"process {process.name}")
    return found


def wait_until(condition: object, what: str, timeout_seconds: float = 20) -> None:
    """Wait for a condition with a bound."""
    assert callable(condition)
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_seconds} s"
        time.sleep(0.05)


def leave(directory: Path) -> None:
    """Remove the directory, which `down` has emptied, and its parents as far as nobody else uses them."""
    directory.rmdir()
    with suppress(OSError):
        for parent in directory.parents[:2]:
            parent.rmdir()


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Iterator[Path]:
    """An empty checkout on a real disk: a tmpfs cannot carry hosts."""
    directory = REPOSITORY / ".cache" / "lab-tests" / request.node.name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    yield directory
    Lab.for_checkout(directory).down()
    leave(directory)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A lab that is up, for tests that leave it up."""
    directory = REPOSITORY / ".cache" / "lab-tests" / "shared"
    directory.mkdir(parents=True, exist_ok=True)
    one = Lab.for_checkout(directory, PLAN)
    one.down()
    one.up()
    yield one
    one.down()
    leave(directory)


@pytest.fixture
def tiny_image(lab: Lab) -> str:
    """An image of one shell, imported on gx10-2 from the host's own files: nothing is pulled."""
    lab.run(
        "gx10-2",
        "sh",
        "-euc",
        "libraries=$(ldd /bin/sh /bin/sleep | grep -o '/[^ ]*' | grep -v : | sort -u);"
        "tar -chf - /bin/sh /bin/sleep $libraries 2>/dev/null | docker import - tiny:1",
    )
    return "tiny:1"


def started(lab: Lab) -> dict[str, str]:
    """When the first process of each host was started: differs after a power cycle."""
    return {name: lab.run(name, "cut", "-d", " ", "-f", "22", "/proc/1/stat").stdout for name in HOSTS}


def pings(lab: Lab, source: str, address: str) -> bool:
    return lab.run(source, "ping", "-n", "-c1", "-W1", address, check=False).returncode == 0


def test_four_hosts_answer_within_15_seconds_on_a_warm_cache(place: Path, lab: Lab) -> None:
    began = time.monotonic()
    fresh = Lab.for_checkout(place, PLAN)
    fresh.up()
    assert time.monotonic() - began < 15
    assert [(host.power, host.ssh, host.docker is not None) for host in fresh.status()] == [("on", True, True)] * 4


def test_four_idle_hosts_take_at_most_1500_mb(lab: Lab) -> None:
    assert 0 < sum(host.memory_mib for host in lab.status()) * 1024**2 < 1.5e9


@pytest.mark.parametrize("name", HOSTS)
def test_a_host_is_a_real_machine_to_what_runs_on_it(lab: Lab, name: str) -> None:
    lab.run(name, "timeout", "20", "systemctl", "is-system-running", "--wait", check=False)
    assert lab.run(name, "systemctl", "is-system-running", check=False).stdout.strip() == "running"
    assert lab.run(name, "hostname").stdout.strip() == name
    assert lab.run(name, "docker", "info", "--format", "{{.Driver}}").stdout.strip() == "overlay2"
    assert lab.run(name, "ip", "route", "show", "default").stdout == ""
    addresses = lab.run(name, "ip", "-br", "-4", "address").stdout
    number = HOSTS.index(name) + 1
    assert f"10.77.0.{10 + number}/24" in next(line for line in addresses.splitlines() if line.startswith("mgmt0"))
    assert f"10.77.1.{10 + number}/24" in next(line for line in addresses.splitlines() if line.startswith("fabric0"))
    assert lab.run(name, "mountpoint", "/srv/models").returncode == 0


def test_the_head_alone_sees_what_was_dropped_for_import_and_cannot_write_it(lab: Lab) -> None:
    assert lab.run("gx10-1", "touch", "/srv/import/x", check=False).returncode != 0
    assert lab.run("gx10-1", "mountpoint", "/srv/import").returncode == 0
    assert lab.run("gx10-2", "test", "-e", "/srv/import", check=False).returncode != 0


def test_password_login_is_refused(lab: Lab) -> None:
    offered = subprocess.run(
        ["ssh", "-v", "-F", lab.ssh_config, "-o", "BatchMode=yes", "-o", "PubkeyAuthentication=no", "gx10-1", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert offered.returncode != 0
    assert "Permission denied (publickey)" in offered.stderr


def test_a_host_is_reached_by_name_and_by_management_address(lab: Lab) -> None:
    for target in ("gx10-3", "10.77.0.13"):
        done = subprocess.run(["ssh", "-F", lab.ssh_config, target, "hostname"], capture_output=True, check=True)
        assert done.stdout == b"gx10-3\n"


def test_a_second_up_changes_nothing(lab: Lab) -> None:
    before = started(lab)
    lab.up()
    assert started(lab) == before


def test_a_container_runs_and_dies_with_the_power(lab: Lab, tiny_image: str) -> None:
    assert lab.run("gx10-2", "docker", "run", "--rm", tiny_image, "/bin/sh", "-c", "echo hello").stdout == "hello\n"
    lab.run("gx10-2", "docker", "run", "-d", "--network", "host", "--name", "sleeper", tiny_image, "/bin/sleep", "1234")
    group = Host.of(lab.names, lab.plan, lab.plan.host("gx10-2")).group
    processes = list(group.processes())
    # A container's helpers come and go between being listed and being asked.
    words = ["ps", "-ww", "-o", "args=", "-p", ",".join(map(str, processes))]
    assert "/bin/sleep 1234" in subprocess.run(words, capture_output=True, text=True, check=False).stdout
    lab.power_off("gx10-2")
    # A killed process keeps its number until somebody has asked how it ended.
    wait_until(lambda: not any(Path(f"/proc/{process}").exists() for process in processes), "the end of all", 2)
    lab.power_on("gx10-2")
    assert lab.run("gx10-2", "docker", "ps", "-q").stdout == ""
    assert "sleeper" in lab.run("gx10-2", "docker", "ps", "-a").stdout
    lab.run("gx10-2", "docker", "rm", "sleeper")


def test_a_power_cycle_keeps_the_disk_and_the_log(lab: Lab) -> None:
    lab.run(
        "gx10-3", "sh", "-c", "echo kept > /var/lib/mark; echo kept > /srv/models/mark; nft add table inet volatile"
    )
    lab.run("gx10-3", "sh", "-c", "echo before the cut | systemd-cat -t marker; journalctl --sync")
    key = lab.run("gx10-3", "cat", "/etc/machine-id").stdout
    lab.power_off("gx10-3")
    assert [host.power for host in lab.status()] == ["on", "on", "off", "on"]
    lab.power_on("gx10-3")
    assert lab.run("gx10-3", "cat", "/var/lib/mark", "/srv/models/mark").stdout == "kept\nkept\n"
    assert "before the cut" in lab.run("gx10-3", "journalctl", "-b", "-1", "-t", "marker", "-o", "cat").stdout
    assert lab.run("gx10-3", "cat", "/etc/machine-id").stdout == key
    assert "volatile" not in lab.run("gx10-3", "nft", "list", "tables").stdout, "the kernel's state outlived the power"


def test_a_dead_host_answers_nothing(lab: Lab) -> None:
    assert pings(lab, "gx10-1", "10.77.1.14")
    lab.power_off("gx10-4")
    assert not pings(lab, "gx10-1", "10.77.1.14")
    assert not pings(lab, "gx10-1", "10.77.0.14")
    lab.power_on("gx10-4")
    assert pings(lab, "gx10-1", "10.77.1.14")


def test_a_host_that_switches_itself_off_is_off_and_one_that_reboots_comes_back(lab: Lab) -> None:
    before = started(lab)
    lab.run("gx10-3", "systemctl", "reboot", check=False)
    reboots = Host.of(lab.names, lab.plan, lab.plan.host("gx10-3"))
    wait_until(lambda: lab.run("gx10-3", "true", check=False).returncode == 0 and started(lab) != before, "the reboot")
    reboots.wait_until_it_answers()
    assert pings(lab, "gx10-1", "10.77.1.13")
    lab.run("gx10-3", "systemctl", "poweroff", check=False)
    wait_until(lambda: not reboots.group.lives, "the power off")
    assert not pings(lab, "gx10-1", "10.77.1.13")
    assert lab.status()[2].power == "off"
    lab.up()
    assert pings(lab, "gx10-1", "10.77.1.13")


def test_a_pulled_cable_stays_pulled_over_a_power_cycle_until_it_is_mended(lab: Lab) -> None:
    assert pings(lab, "gx10-2", "10.77.1.13")
    lab.cut("gx10-2", "fabric")
    assert not pings(lab, "gx10-2", "10.77.1.13")
    assert pings(lab, "gx10-2", "10.77.0.13"), "only the fabric was cut"
    assert pings(lab, "gx10-1", "10.77.1.13"), "only one host was cut off"
    assert lab.run("gx10-2", "cat", "/sys/class/net/fabric0/operstate").stdout.strip() != "up"
    lab.power_off("gx10-2")
    lab.power_on("gx10-2")
    assert not pings(lab, "gx10-2", "10.77.1.13")
    assert lab.status()[1].fabric == "cut"
    lab.mend("gx10-2")
    wait_until(lambda: pings(lab, "gx10-2", "10.77.1.13"), "the mended cable")


def test_a_host_without_management_is_up_for_its_peers_alone(lab: Lab) -> None:
    lab.cut("gx10-4", "management")
    lab.up()
    assert lab.status()[3].ssh is False
    assert pings(lab, "gx10-1", "10.77.1.14")
    lab.mend("gx10-4")
    wait_until(lambda: lab.run("gx10-4", "true", check=False).returncode == 0, "the mended cable")


def test_labs_of_two_checkouts_do_not_see_each_other(lab: Lab, place: Path) -> None:
    other = Lab.for_checkout(place, PLAN)
    other.up()
    lab.run("gx10-1", "touch", "/var/lib/first-lab")
    assert other.run("gx10-1", "test", "-e", "/var/lib/first-lab", check=False).returncode != 0
    other.power_off("gx10-2")
    assert pings(lab, "gx10-1", "10.77.1.12")
    assert not pings(other, "gx10-1", "10.77.1.12")
    other.down()
    assert [host.ssh for host in lab.status()] == [True] * 4


def test_up_repairs_hosts_whose_nspawn_was_killed(lab: Lab) -> None:
    for name in ("gx10-1", "gx10-3"):
        group = Host.of(lab.names, lab.plan, lab.plan.host(name)).group
        for process in group.processes():
            if b"systemd-nspawn\0" in Path(f"/proc/{process}/cmdline").read_bytes():
                os.kill(process, signal.SIGKILL)
    lab.up()
    assert [host.ssh for host in lab.status()] == [True] * 4
    assert pings(lab, "gx10-1", "10.77.1.13")


def test_up_repairs_a_lab_whose_network_is_gone(lab: Lab) -> None:
    subprocess.run(["ip", "netns", "delete", lab.names.lab], check=True)
    lab.up()
    assert pings(lab, "gx10-1", "10.77.1.13")


def test_down_leaves_nothing(place: Path) -> None:
    one = Lab.for_checkout(place, PLAN)
    one.up()
    assert len(traces(one.names)) > 40, "the check would see what is left"
    one.down()
    wait_until(lambda: traces(one.names) == [], "the end of every trace", 2)
    assert list(place.iterdir()) == []
    one.down()


def command(place: Path, verb: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "gx10.lab", "--checkout", str(place), "--required-free-gb", "5", *verb.split()],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


# From before the first key exists until after all four hosts are started.
@pytest.mark.parametrize("after_seconds", [0.35, 1.5, *(pytest.param(each, marks=SOAK) for each in (0.2, 0.5, 0.8))])
def test_up_and_down_work_after_up_was_killed(place: Path, after_seconds: float) -> None:
    one = Lab.for_checkout(place, PLAN)
    for finish in (one.up, one.down):
        with command(place, "up --hosts-only") as killed:
            time.sleep(after_seconds)  # the moment of the crash is what varies here
            killed.kill()
        finish()
        if finish == one.up:
            assert [(host.ssh, host.docker is not None) for host in one.status()] == [(True, True)] * 4
            assert pings(one, "gx10-1", "10.77.1.14")
            one.down()
    wait_until(lambda: traces(one.names) == [], "the end of every trace", 2)


@pytest.mark.parametrize("after_seconds", [0.3, *(pytest.param(each, marks=SOAK) for each in (0.2, 0.25, 0.35, 0.4))])
def test_up_and_down_work_after_down_was_killed(place: Path, after_seconds: float) -> None:
    one = Lab.for_checkout(place, PLAN)
    one.up()
    with command(place, "down") as killed:
        time.sleep(after_seconds)  # the moment of the crash is what varies here
        killed.kill()
    one.up()
    assert [host.ssh for host in one.status()] == [True] * 4
    one.down()
    wait_until(lambda: traces(one.names) == [], "the end of every trace", 2)


def test_commands_report_as_documents_and_pass_on_the_exit_status(lab: Lab) -> None:
    def gx10(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "gx10.lab", "--checkout", str(lab.names.checkout), *argv],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )

    document = json.loads(gx10("status", "--json").stdout)
    assert [host["name"] for host in document["hosts"]] == list(HOSTS)
    assert gx10("ssh", "gx10-2", "exit 7").returncode == 7
    refused = gx10("power-off", "gx10-9")
    assert refused.returncode == 1
    assert "gx10-9" in refused.stderr
    assert "gx10-1, gx10-2, gx10-3, gx10-4" in refused.stderr


def test_a_host_that_cannot_boot_is_named_with_its_console(place: Path) -> None:
    one = Lab.for_checkout(place, PLAN)
    one.up()
    one.power_off("gx10-2")
    upper = one.names.disk(one.plan.host("gx10-2")) / "upper"
    (upper / "usr").symlink_to("/nowhere")
    with pytest.raises(LabError, match=r"gx10-2 went off while it booted.*console/gx10-2\.log"):
        one.up()
    assert [host.ssh for host in one.status()] == [True, False, True, True]

"""The lab as a whole: what tests, benchmarks and the command line use."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from . import requirements, rootfs
from .access import Access
from .cache import import_directory, locked
from .control_group import ControlGroup
from .errors import LabError
from .host import Host
from .names import LabNames
from .network import Network
from .plan import HostPlan, LabPlan
from .progress import Progress
from .removal import remove_leftovers, remove_run_directory, remove_state
from .status import HostStatus, status_of


class Lab:
    """Four throw-away hosts that belong to one checkout. What exists is found on the machine, never remembered."""

    def __init__(self, names: LabNames, plan: LabPlan) -> None:
        self.names = names
        self.plan = plan
        self._network = Network(names, plan)
        self._access = Access(names, plan)

    @classmethod
    def for_checkout(cls, checkout: Path, plan: LabPlan | None = None) -> Lab:
        """The lab of the checkout at this path, whether it is up or not."""
        names = LabNames.for_checkout(checkout)
        lab = cls(names, plan or LabPlan())
        return cls(names, replace(lab.plan, host_count=lab.existing)) if lab.existing else lab

    @property
    def existing(self) -> int:
        """How many hosts there are: as many as have a disk."""
        numbers = (path.name.rpartition("-")[2] for path in self.names.hosts.glob("gx10-*"))
        return max((int(number) for number in numbers if number.isdecimal()), default=0)

    def of(self, count: int) -> Lab:
        """The same lab with so many hosts; LabError where it has more, which only `down` takes away."""
        if count < self.existing:
            raise LabError(f"The lab has {self.existing} hosts. `gx10 lab down` removes them, then ask for {count}.")
        return Lab(self.names, replace(self.plan, host_count=count))

    @property
    def ssh_config(self) -> Path:
        """`ssh -F` this file to log in."""
        return self.names.ssh_config

    def check(self) -> None:
        """Raise LabError, with a sentence for everything that is missing, unless this machine can carry the lab."""
        requirements.check(self.names, self.plan)

    def up(self, progress: Progress | None = None) -> None:
        """Make all hosts be on and answer, from whatever state. A host that does already is left alone."""
        progress = progress or Progress()
        self.check()
        root = rootfs.ensure(progress)
        with self._locked():
            remove_leftovers(self.names)
            import_directory()
            self.names.hosts.mkdir(parents=True, exist_ok=True)
            self._access.create()
            self._network.create()
            self._on_all(self.plan.hosts, lambda host: self._bring_up(host, root, progress))

    def down(self, progress: Progress | None = None) -> None:
        """Remove the lab: processes, namespaces, control groups, mounts and files. The cache stays."""
        progress = progress or Progress()
        with self._locked():
            with progress.step("lab", "power off"):
                groups = ControlGroup.all_of(self.names.lab)
                with ThreadPoolExecutor(max(len(groups), 1)) as pool:
                    list(pool.map(ControlGroup.kill, groups))
            with progress.step("lab", "remove networks and disks"):
                self._network.remove()
                remove_state(self.names)
                remove_run_directory()

    def power_off(self, *names: str) -> None:
        """Cut the power of these hosts. Their disks keep what they hold."""
        with self._locked():
            self._on_all(self._hosts(names), lambda host: self._host(host).power_off())

    def power_on(self, *names: str, progress: Progress | None = None) -> None:
        """Boot these hosts from their disks and return once they answer."""
        progress = progress or Progress()
        with self._locked():
            self._network.create()
            self._on_all(self._hosts(names), lambda host: self._boot(host, progress))

    def cut(self, name: str, network: str) -> None:
        """Pull the host's cable to `management` or `fabric`."""
        with self._locked():
            self._must_exist()
            self._network.cut(self.plan.host(name), self.plan.network(network))

    def mend(self, name: str) -> None:
        """Plug both cables of the host in."""
        with self._locked():
            self._must_exist()
            self._network.mend(self.plan.host(name))

    def run(
        self,
        name: str,
        *argv: str,
        check: bool = True,
        stdin: str | None = None,
        timeout_seconds: float | None = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a host over ssh, each argument as it is. With `check`, LabError when it fails."""
        host = self.plan.host(name)
        done = subprocess.run(
            [*self._access.command(host), "--", shlex.join(argv)],
            input=stdin or "",
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
        if check and done.returncode != 0:
            said = (done.stderr or done.stdout).strip() or "nothing"
            raise LabError(f"{host.name}: `{shlex.join(argv)}` ended with {done.returncode} and said: {said}")
        return done

    def status(self) -> list[HostStatus]:
        """What each host is now."""
        with ThreadPoolExecutor(len(self.plan.hosts)) as pool:
            return list(pool.map(lambda host: status_of(self._host(host)), self.plan.hosts))

    def _must_exist(self) -> None:
        if not self._network.exists:
            raise LabError(f"There is no lab for {self.names.checkout}: run `gx10 lab up`.")

    def _host(self, host: HostPlan) -> Host:
        return Host(self.names, self._network, self._access, host)

    def _hosts(self, names: tuple[str, ...]) -> tuple[HostPlan, ...]:
        return tuple(self.plan.host(name) for name in names)

    def _bring_up(self, host: HostPlan, root: str, progress: Progress) -> None:
        one = self._host(host)
        one.install(root)
        if one.installed_from != root:
            progress.note(
                host.name,
                f"keeps the root file system {one.installed_from} it was installed from; the current one is {root}. "
                "`gx10 lab down` and `gx10 lab up` install it afresh.",
            )
        self._boot(host, progress)

    def _boot(self, host: HostPlan, progress: Progress) -> None:
        one = self._host(host)
        phase = "answers" if one.is_whole else "boots"
        with progress.step(host.name, phase):
            one.power_on()
            if self._network.is_cut(host, self.plan.management):
                # It cannot be asked, and that is what somebody wanted.
                return
            one.wait_until_it_answers()

    def _on_all(self, hosts: tuple[HostPlan, ...], work: Callable[[HostPlan], None]) -> None:
        """Work on all hosts at once; every host gets its turn, and every failure is reported."""
        with ThreadPoolExecutor(max(len(hosts), 1)) as pool:
            turns = [pool.submit(work, host) for host in hosts]
        failures = [error for turn in turns if (error := turn.exception()) is not None]
        for error in failures:
            if not isinstance(error, LabError):
                raise error
        if failures:
            raise LabError.of_many(str(error) for error in failures)

    def _locked(self) -> AbstractContextManager[int]:
        """One command at a time per lab. The checkout itself is the lock: there is no lock file to leave behind."""
        requirements.check_root()
        return locked(self.names.checkout)

"""Time a run that changes nothing, pyinfra and Ansible in turn, on the cluster that GX10_CLUSTER names.

    python docs/comparison/measure.py --ansible-playbook VENV/bin/ansible-playbook [--rounds 5]

Refuses to begin while the cluster does not serve, a deploy would change something, or the machine is busy.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from gx10.described.description import described_by_environment

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
MAX_LOAD = 1.0
RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Cost:
    """What one run took."""

    wall_seconds: float
    cpu_seconds: float
    """CPU time of the run on the control node, its children included."""


def command(name: str) -> str:
    """A command of this environment."""
    return str(Path(sys.executable).with_name(name))


def timed(argv: list[str], cwd: Path, environment: dict[str, str]) -> tuple[Cost, str]:
    """Run a command; its cost and its standard output. Ends this program when the command fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    done = subprocess.run(argv, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    wall = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{Path(argv[0]).name} ended with status {done.returncode}: {(done.stderr or done.stdout)[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu), done.stdout


def pyinfra() -> Cost:
    """One deploy; ends this program when it changed something."""
    cost, told = timed([command("pyinfra"), "inventory.py", "deploy.py", "-y", "--json"], PROJECT, {})
    if changed := [one["name"] for one in json.loads(told)["results"]["operations"] if one["success"]]:
        sys.exit(f"the deploy changed something: {changed}. Measure when a second run changes nothing.")
    return cost


@dataclass(frozen=True)
class Ansible:
    """The playbook on an inventory."""

    program: str
    inventory: Path
    sockets: Path

    def run(self, *options: str) -> Cost:
        """One run of the playbook; ends this program when it changed something, or would with `--check`."""
        environment = {
            "ANSIBLE_CONFIG": str(HERE / "ansible/ansible.cfg"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.sockets),
            "ANSIBLE_NOCOLOR": "1",
        }
        argv = [self.program, "-i", str(self.inventory), "playbook.yaml", *options]
        cost, told = timed(argv, HERE / "ansible", environment)
        recap = RECAP.findall(told)
        if not recap or any(line[2:] != ("0", "0", "0") for line in recap):
            sys.exit(f"the playbook changes something: {told[-1000:]}")
        return cost

    def run_cold(self) -> Cost:
        """One run that has to open its connections, as a nightly one does."""
        self.close()
        return self.run()

    def close(self) -> None:
        """Close the connections that a run left open for the next one."""
        for socket in self.sockets.iterdir():
            words = ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "host"]
            subprocess.run(words, capture_output=True, check=False)


def refuse_unfit() -> None:
    """End with a sentence where a measurement would mean nothing."""
    if (load := os.getloadavg()[0]) > MAX_LOAD:
        sys.exit(f"the load is {load:.1f}, and figures are taken below {MAX_LOAD:g}. Wait, or stop what else runs.")
    if subprocess.run([command("gx10"), "status"], cwd=PROJECT, capture_output=True, check=False).returncode:
        sys.exit("the cluster does not serve: see `gx10 status`.")
    _, told = timed([command("pyinfra"), "inventory.py", "deploy.py", "--dry", "--json"], PROJECT, {})
    if pending := [one["name"] for one in json.loads(told)["plan"] if one["hosts_with_change"]]:
        sys.exit(f"a deploy would change something: {pending}. Deploy first.")


def report(name: str, costs: list[Cost]) -> float:
    """Print medians with all walls; the median wall in seconds."""
    walls = [cost.wall_seconds for cost in costs]
    cpu = median(cost.cpu_seconds for cost in costs)
    all_of_them = " ".join(f"{wall:.2f}" for wall in walls)
    sys.stdout.write(f"{name:<28} wall {median(walls):6.2f} s   CPU here {cpu:6.2f} s   ({all_of_them})\n")
    return median(walls)


def main() -> None:
    """Measure in turns, then print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ansible-playbook", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    refuse_unfit()
    with TemporaryDirectory(prefix="gx10-") as scratch:
        inventory, sockets = Path(scratch, "inventory.json"), Path(scratch, "cp")
        sockets.mkdir(mode=0o700)
        _, told = timed([sys.executable, "ansible/describe.py"], HERE, {})
        inventory.write_text(told, encoding="utf-8")
        ansible = Ansible(arguments.ansible_playbook, inventory, sockets)
        kinds: dict[str, Callable[[], Cost]] = {
            "pyinfra": pyinfra,
            "Ansible, connections open": ansible.run,
            "Ansible, connections new": ansible.run_cold,
        }
        ansible.run("--check")
        # Once each without counting: byte code, page cache, and the connections that are then open.
        for run in kinds.values():
            run()
        costs: dict[str, list[Cost]] = {name: [] for name in kinds}
        for _ in range(arguments.rounds):
            for name, run in kinds.items():
                costs[name].append(run())
        hosts = len(described_by_environment().cluster.hosts)
        sys.stdout.write(
            f"{arguments.rounds} rounds in turn, {hosts} hosts, {os.cpu_count()} cores, no change in any\n"
        )
        walls = {name: report(name, told) for name, told in costs.items()}
        for name in list(walls)[1:]:
            sys.stdout.write(f"{name}: {walls[name] / walls['pyinfra']:.1f} times the wall time of pyinfra\n")
        ansible.close()


if __name__ == "__main__":
    main()

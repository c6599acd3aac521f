"""A host's files without the host: what deploys write in every role, written into a pristine root and retired again.

    unshare --mount python -m tests.lab.pristine ROOTFS DIRECTORY

Prints JSON: how many entries were written, what the retirement says is left, and what differs from the pristine root.
Docker, nft and systemd are stand-ins here; every file is touched by the programs that hosts run.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from gx10.access.remote import Answer
from gx10.day_two import retirement
from gx10.described import gang_files, watch_files
from gx10.described.authorized import described_line
from gx10.described.description import Description, describe
from gx10.described.entries import File
from gx10.described.members import member
from gx10.described.placed import entries as described_entries
from gx10.described.placed import of_gang, of_reconciler, on_host
from gx10.described.project import deployed_files
from gx10.operations.files import marks, put_entries
from gx10.probes import writer_words

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
UNITS = "/etc/systemd/system"
SYSTEMCTL = f"""#!/usr/bin/python3
import os, pathlib, sys
words = sys.argv[1:]
names = words[words.index("--") + 1 :] if "--" in words else words[1:]
if words[0] == "show":
    told = (f"Id={{name}}\\nActiveState=inactive\\nUnitFileState=enabled\\nFragmentPath=" for name in names)
    print("\\n\\n".join(told))
elif words[0] == "is-active":
    print("inactive")
    sys.exit(3)
elif words[0] == "enable":
    wants = pathlib.Path("{UNITS}/multi-user.target.wants")
    wants.mkdir(exist_ok=True)
    for name in names:
        (wants / name).symlink_to(f"{UNITS}/{{name}}")
elif words[0] == "disable":
    for name in names:
        for link in pathlib.Path("{UNITS}").glob(f"*.wants/{{name}}"):
            link.unlink()
"""
COMMANDS = {"systemctl": SYSTEMCTL, "docker": "#!/bin/sh\nexit 0\n", "nft": "#!/bin/sh\nexit 1\n"}
MINE = ("/usr/local/lib/mine", "/srv/models/own/file", "/opt/mine")
EARLIER = "/usr/local/lib/gx10/earlier.py"


class Root:
    """A root file system, with what is written into it apart from what was there."""

    def __init__(self, lower: Path, work: Path) -> None:
        self.lower, self.upper, self.path = lower, work / "upper", work / "root"
        for part in ("upper", "work", "root"):
            (work / part).mkdir(parents=True)
        layers = f"lowerdir={lower},upperdir={self.upper},workdir={work / 'work'}"
        subprocess.run(["mount", "-t", "overlay", "-o", layers, "pristine", self.path], check=True)
        subprocess.run(["mount", "-t", "proc", "proc", self.path / "proc"], check=True)
        for name, text in COMMANDS.items():
            self.write(f"/usr/local/sbin/{name}", text)
            (self.path / "usr/local/sbin" / name).chmod(0o755)

    def write(self, name: str, text: str) -> None:
        path = self.path / name[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(self, _: Description, host: str, words: list[str], __: float = 30, stdin: str | None = None) -> Answer:
        """Run a command as on that host."""
        done = subprocess.run(
            ["chroot", self.path, *words], input=stdin, capture_output=True, text=True, check=False, env={"PATH": PATH}
        )
        if done.returncode:
            return Answer(host, reason=(done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1])
        return Answer(host, value=done.stdout)

    def ask(
        self, description: Description, question: Callable[[str], list[str]], hosts: Iterable[str], _: float = 30
    ) -> dict[str, Answer]:
        """Ask as of that host."""
        answers = {host: self.run(description, host, question(host)) for host in hosts}
        return {
            host: Answer(host, [json.loads(line) for line in answer.value.splitlines()]) if answer.ok else answer
            for host, answer in answers.items()
        }

    def snapshot(self) -> dict[str, str]:
        """Everything that is not as in the pristine root: path to what stands there. Directories of it do not count."""
        told = {}
        for path in sorted(self.upper.rglob("*")):
            name = path.relative_to(self.upper)
            before = self.lower / name
            if path.is_dir() and not path.is_symlink():
                if not before.is_dir():
                    told[f"/{name}"] = "directory"
            elif not (before.is_file() and path.is_file() and before.read_bytes() == path.read_bytes()):
                digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else "no file"
                told[f"/{name}"] = digest
        return told


def must(answer: Answer) -> None:
    if not answer.ok:
        raise RuntimeError(answer.reason)


def deployed(root: Root, description: Description) -> None:
    """Write what deploys write, in every role that a host can have, and what others have on it."""
    entries: list[Any] = [File(gang_files.GENERATION_FILE, b"x")]
    for name in (description.cluster.workers[0], description.cluster.head):
        entries += [*described_entries(on_host(description, name)), *described_entries(of_gang(description, name))]
        entries += [*described_entries(of_reconciler(description, name))]
        entries += [File(path, b"x") for path in gang_files.supervisor_drop_ins(description.cluster, name)]
    state, archive = str(description.cluster.paths.state), str(description.cluster.paths.archive)
    manifest = {"name": "tiny", "files": [{"path": "a", "size": 1, "sha256": hashlib.sha256(b"x").hexdigest()}]}
    told = {
        **{f"{state}/{name}.json": b"{}" for name in ("applied", "hosts", "transfers", "images-used", "suspended")},
        **{f"{state}/{name}": b"x" for name in ("gang/past.json", "gang/kept/0", "build/a/Dockerfile")},
        f"{archive}/images/vllm-node-1.json": b"{}", f"{archive}/blobs/sha256/{'a' * 64}": b"x",
        f"{archive}/blobs/sha256/{'b' * 64}.partial": b"x", f"{archive}/.gx10-proven.json": b"{}",
        **{f"{watch_files.PROJECT}/{name}": text for name, text in deployed_files(description).items()},
        f"{watch_files.environment(description)[0]}/bin/python": b"x", f"{watch_files.ROOT}/env-{'0' * 12}/x": b"x",
        watch_files.KNOWN_HOSTS: b"x", f"/var/lib/systemd/timers/stamp-{watch_files.TIMER}": b"",
        f"{description.cluster.reconcile.metrics}/gx10_reconcile.prom": b"x", EARLIER: b"x",
        "/usr/local/lib/gx10/__pycache__/x.pyc": b"x", "/etc/gx10/fallback-9.conf": b"x", "/run/gx10/gang.json": b"x",
        "/srv/models/org/tiny/a": b"x", "/srv/models/org/tiny/.gx10-manifest.json": json.dumps(manifest).encode(),
    }  # fmt: skip
    entries += [File(path, text) for path, text in told.items()]
    must(root.run(description, "", writer_words("put"), stdin=put_entries(entries)))
    user = ["useradd", "--system", "--home-dir", watch_files.HOME, "--create-home", "--", watch_files.USER]
    must(root.run(description, "", user))
    must(root.run(description, "", ["systemctl", "enable", "--", gang_files.GANG_UNIT, watch_files.TIMER]))
    line = described_line("ssh-ed25519 AAAAreconciler x", ["10.0.0.1"], watch_files.comment(description))
    keys = json.dumps({"login": "root", "remove": [], "add": line})
    must(root.run(description, "", writer_words("key"), stdin=keys))
    block = json.dumps({"path": "/etc/hosts", "marks": marks("gx10"), "lines": ["10.0.0.1 gx10-1"]})
    must(root.run(description, "", writer_words("block"), stdin=block))


def main() -> None:
    root = Root(Path(sys.argv[1]), Path(sys.argv[2]))
    description = describe("lab")
    name = description.cluster.workers[-1]
    root.write("/etc/hosts", "127.0.0.1\tlocalhost\n\n# mine\n")
    root.write("/root/.ssh/authorized_keys", "ssh-ed25519 AAAAowner me\n")
    for path in MINE:
        root.write(path, "mine")
    before = root.snapshot()
    deployed(root, description)
    written = len(root.snapshot()) - len(before)
    retirement.run, retirement.ask = root.run, root.ask  # type: ignore[assignment]
    target = retirement.Target(name, member(description, name), (EARLIER,))
    left = retirement.standing(description, target)
    for weights in (False, True):  # Weights may follow, when the programs are gone.
        left = retirement.retire(description, target, left, weights=weights, say=lambda _: None)
    must(retirement.forget_runtime(description, target))
    after = root.snapshot()
    differs = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    print(json.dumps({"written": written, "left": left.rows(weights=True), "differs": differs}))


if __name__ == "__main__":
    main()

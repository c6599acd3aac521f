"""What the pages describe, brought about on the lab and taken back again, whatever happened meanwhile."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gx10.described.description import describe
from gx10.described.units import GENERATION_LABEL, RAY_CONTAINER
from gx10.lab.lab import Lab
from gx10.reconcile.window import DAYS
from gx10.settings import PROJECT

from ..lab.deployment import FLIP
from ..lab.tiny_image import Tiny
from .case import Situation
from .stage import HEAD, VICTIM, Stage

CLUSTER = PROJECT / "clusters/lab.yaml"
MINE = PROJECT / "clusters/mine.yaml"
MODEL = "tiny-qwen3-moe"
WEIGHTS = f"/srv/models/{MODEL}"
SHARDS = [f"{WEIGHTS}/model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
ARCHIVE = "/var/lib/gx10/archive"
FLAG = "GX10_DOCUMENTED"


@contextmanager
def serving(_: Stage) -> Iterator[None]:
    """Nothing is wrong."""
    yield


@contextmanager
def rewritten(file: Path, *changes: tuple[str, str]) -> Iterator[None]:
    """A file of the description, otherwise."""
    text = before = file.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text, f"{file} has no {old}"
        text = text.replace(old, new, 1)
    file.write_text(text, encoding="utf-8")
    try:
        yield
    finally:
        file.write_text(before, encoding="utf-8")


def described_otherwise(*changes: tuple[str, str]) -> Situation:
    """The cluster file says something else."""

    @contextmanager
    def situation(_: Stage) -> Iterator[None]:
        with rewritten(CLUSTER, *changes):
            yield

    return situation


def on_hosts(broken: str, healed: str, *hosts: str) -> Situation:
    """A script on hosts, and another that takes it back."""

    @contextmanager
    def situation(stage: Stage) -> Iterator[None]:
        try:
            for host in hosts or (VICTIM,):
                stage.run(host, broken)
            yield
        finally:
            for host in hosts or (VICTIM,):
                stage.run(host, healed, check=False)

    return situation


# Files and disks.

disk_full = on_hosts(f"mount -t tmpfs -o size=1m tmpfs {ARCHIVE}", f"umount {ARCHIVE}")


no_room_for_a_transfer = on_hosts(
    "mkdir -p /srv/full && mount -t tmpfs -o size=200k tmpfs /srv/full", "umount /srv/full; rmdir /srv/full"
)


@contextmanager
def weights_damaged(stage: Stage) -> Iterator[Mapping[str, str]]:
    """Weights that were lost, cut short and flipped on hosts, the head too; nothing else is wrong."""
    yield {"MODEL": MODEL}


def weights_touched(stage: Stage) -> None:
    """Somebody wrote to a file of weights."""
    stage.run(VICTIM, f"touch -d 'last year' {SHARDS[2]}")


def weights_flipped(stage: Stage) -> None:
    """A file is lost on the head, and bits of others have flipped without a write."""
    stage.run(HEAD, f"rm {SHARDS[0]}")
    for host, shard in ((HEAD, SHARDS[1]), (VICTIM, SHARDS[2])):
        stage.lab.run(host, "python3", "-c", FLIP, shard, "5000")


def weights_lost_on_one_host(stage: Stage) -> None:
    """A worker's file is gone."""
    stage.run(VICTIM, f"rm {SHARDS[0]}")


@contextmanager
def old_model(stage: Stage) -> Iterator[None]:
    """Nothing as large as a reserve of 2000 GiB leaves room for fits, and an old model lies about on a worker."""
    stage.run(VICTIM, f"mkdir -p /srv/models/org && cp -a {WEIGHTS} /srv/models/org/old-model")
    try:
        with rewritten(CLUSTER, ("models:\n  min_free_gib: 2", "models:\n  min_free_gib: 2000")):
            yield
    finally:
        stage.run(VICTIM, "rm -rf /srv/models/org", check=False)


@contextmanager
def address_missing(stage: Stage) -> Iterator[None]:
    """The described interface is there on a worker, and nobody gave it an address."""
    stage.run(VICTIM, "ip link add spare0 type bridge")
    try:
        with rewritten(CLUSTER, ("interface: fabric0", "interface: spare0")):
            yield
    finally:
        stage.run(VICTIM, "ip link del spare0", check=False)


# Power, cables and logins.


def cable_out(network: str) -> Situation:
    """A cable of a worker is out."""

    @contextmanager
    def situation(stage: Stage) -> Iterator[None]:
        stage.lab.cut(VICTIM, network)
        try:
            yield
        finally:
            stage.lab.mend(VICTIM)

    return situation


def mended(stage: Stage) -> None:
    """Somebody plugs it in again."""
    stage.lab.mend(VICTIM)
    # The kernel remembers for some seconds that a neighbour did not answer.
    stage.until("gx10 status", rf"{VICTIM} +yes", 60)


docker_stopped = on_hosts("systemctl stop docker.service docker.socket", "systemctl start docker.socket docker.service")


@contextmanager
def key_unknown(stage: Stage) -> Iterator[None]:
    """A worker does not know this node's key; a connection that stands already brings it back."""
    keys = "/root/.ssh/authorized_keys"
    with tempfile.TemporaryDirectory() as directory:
        ssh = ["ssh", "-F", str(stage.lab.ssh_config), "-o", f"ControlPath={directory}/door"]
        subprocess.run([*ssh, "-o", "ControlMaster=yes", "-o", "ControlPersist=300", VICTIM, "true"], check=True)
        try:
            subprocess.run([*ssh, VICTIM, f"mv {keys} {keys}.away"], check=True)
            yield
        finally:
            subprocess.run([*ssh, VICTIM, f"mv {keys}.away {keys}"], check=False, timeout=30)
            subprocess.run([*ssh, "-O", "exit", VICTIM], check=False, capture_output=True)


def known_hosts_with(change: Callable[[str], str]) -> Situation:
    """What this node knows of the keys of hosts, otherwise."""

    @contextmanager
    def situation(stage: Stage) -> Iterator[None]:
        file = stage.lab.ssh_config.parent / "known_hosts"
        before = file.read_text()
        file.write_text(change(before))
        try:
            yield
        finally:
            file.write_text(before)

    return situation


def another_key(known: str) -> str:
    """A worker has another host key than the one that was accepted: here, that of its neighbour."""
    keys = {line.split()[0]: line for line in known.splitlines()}
    names = list(keys)
    victim = next(name for name in names if "10.77.0.13" in name)
    other = next(name for name in names if "10.77.0.12" in name)
    return known.replace(keys[victim], keys[other].replace(other, victim))


def no_key(known: str) -> str:
    """Nobody ever logged in to a worker from here."""
    return "".join(line for line in known.splitlines(keepends=True) if "10.77.0.13" not in line)


@contextmanager
def name_unknown(stage: Stage) -> Iterator[None]:
    """The ssh configuration gives a host a name that nobody knows; the node stands in the management network itself."""
    told = stage.lab.ssh_config.read_text().replace("HostName 10.77.0.13", "HostName gx10-3.invalid")
    stage.within = ("ip", "netns", "exec", stage.lab.names.lab)
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "config"
        config.write_text("".join(line for line in told.splitlines(keepends=True) if "ProxyCommand" not in line))
        with rewritten(CLUSTER, ("ssh_config: .lab/ssh/config", f"ssh_config: {config}")):
            yield


@contextmanager
def head_silent_meanwhile(stage: Stage) -> Iterator[None]:
    """A deploy waits for the gang's start on the head when the head loses its management cable."""
    stage.aside("gx10 stop")
    words = ["pyinfra", "inventory.py", "deploy.py", "-y"]
    try:
        with stage.begun(words) as deploy:
            assert deploy.stdout
            said = next(line for line in deploy.stdout if "gang: " in line)
            stage.lab.cut(HEAD, "management")
            stage.hears(said + deploy.stdout.read())
        assert deploy.returncode == 1, deploy.returncode
        yield
    finally:
        stage.lab.mend(HEAD)


@contextmanager
def no_lab_here(stage: Stage) -> Iterator[None]:
    """A checkout whose lab is not up, and nobody set GX10_CLUSTER."""
    link, away = PROJECT / ".lab", PROJECT / ".lab.away"
    link.rename(away)
    try:
        yield
    finally:
        away.rename(link)


# The image.


@contextmanager
def image_lost(stage: Stage) -> Iterator[None]:
    """No container runs, as in the middle of a restart."""
    stage.aside("gx10 stop")
    # Docker takes a container away a little after its last process has ended.
    stage.run(VICTIM, 'for i in $(seq 300); do [ -n "$(docker ps -aq)" ] || exit 0; sleep 0.2; done; exit 1')
    try:
        yield
    finally:
        stage.aside("gx10 images restore")


def another_image(stage: Stage) -> None:
    """Another image has the name of the described one."""
    reference = describe("lab").image_reference
    stage.run(VICTIM, "tar c --files-from /dev/null | docker import - another:1 >/dev/null")
    stage.run(VICTIM, f"docker tag another:1 {reference} && docker image rm another:1")


def start_that_waits(stage: Stage) -> None:
    """Somebody wants the gang to run, which it cannot."""
    stage.aside("timeout 5 gx10 start")


@contextmanager
def torch_trap(stage: Stage) -> Iterator[Mapping[str, str]]:
    """Guards and the reinstall were taken out of the Dockerfile, and a wheel's metadata brought PyPI's torch."""
    from ..lab.test_torch_trap import GUARDS, REINSTALL  # noqa: PLC0415 - the image's own test tells what they are

    with tempfile.TemporaryDirectory() as directory:
        tiny = Tiny.at(stage.lab, Path(directory))
        try:
            tiny.rewritten("Dockerfile", REINSTALL, "\n")
            tiny.rewritten("Dockerfile", GUARDS, "")
            status, log, _ = tiny.build()
            assert status != 0, "the proof let the wrong torch pass"
            stage.hears(log)
            yield {"IMAGE": describe("lab").image_reference, "NAME": "lab-vllm-node"}
        finally:
            tiny.remove()


# The gang.


def serves_again(stage: Stage) -> None:
    """Wait until the gang serves."""
    stage.until("gx10 status", "gang: serving")


def waits(stage: Stage) -> None:
    """Wait until the gang says what it waits for."""
    stage.until("gx10 status", "waits:")


@contextmanager
def rank_that_always_dies(stage: Stage) -> Iterator[None]:
    """Whatever rank begins on a worker is killed, until the budget of attempts is spent."""
    killer = f"while sleep 0.5; do docker kill {RAY_CONTAINER}; done"
    stage.run(VICTIM, f"systemd-run --quiet --collect --unit killer sh -c '{killer}'")
    try:
        yield
    finally:
        stage.run(VICTIM, "systemctl stop killer", check=False)


def killer_stopped(stage: Stage) -> None:
    """The cause is repaired."""
    stage.run(VICTIM, "systemctl stop killer")


RANK_ENDS = f"docker kill {RAY_CONTAINER} || true"
memory_short = on_hosts(
    "cp -p /etc/gx10/gang.json /run/gang.json && "
    'sed -i \'s/"needed_to_start_gib": *[0-9.]*/"needed_to_start_gib": 4000/\' /etc/gx10/gang.json; '
    "systemctl restart gx10-gang; "
    f"{RANK_ENDS}",
    "mv /run/gang.json /etc/gx10/gang.json; systemctl restart gx10-gang",
)
address_down = on_hosts("ip link set fabric0 down", "ip link set fabric0 up", HEAD)
generations_differ = on_hosts(
    "cp -p /etc/gx10/generation.env /run/generation.env && "
    f"echo GX10_GENERATION=0123456789abcdef > /etc/gx10/generation.env; {RANK_ENDS}",
    "mv /run/generation.env /etc/gx10/generation.env",
)
OUT_OF_MEMORY = f"""
echo $$ > $(find /sys/fs/cgroup -type d -name ray-worker.service | head -1)/cgroup.procs
{{
    echo 'torch.OutOfMemoryError: CUDA out of memory'
    until journalctl --quiet --unit ray-worker --since -1min | grep --quiet OutOfMemoryError; do sleep 0.2; done
}} | systemd-cat
docker kill {RAY_CONTAINER}
"""
"""The journal knows whose line it is only as long as the process that says it is there."""


@contextmanager
def out_of_memory(stage: Stage) -> Iterator[None]:
    """A rank says that its memory was too little, and dies, while the gang starts."""
    with stage.begun(["gx10", "restart"]) as restart:
        stage.until("gx10 status", "gang: starting")
        stage.run(VICTIM, f"until docker top {RAY_CONTAINER} >/dev/null 2>&1; do sleep 0.2; done; {OUT_OF_MEMORY}")
        restart.communicate(timeout=600)
    try:
        yield
    finally:
        stage.aside("gx10 start --full")


def serves_with_a_fallback(stage: Stage) -> None:
    """Wait until the gang serves with less."""
    stage.until("gx10 status", "gang: serving .*fallback")


@contextmanager
def new_generation_dies(stage: Stage) -> Iterator[None]:
    """The described gang is another one, whose ranks end on a worker as soon as they begin."""
    serves = stage.run(VICTIM, ". /etc/gx10/generation.env && echo $GX10_GENERATION").strip()
    label = '{{index .Config.Labels "' + GENERATION_LABEL + '"}}'
    killer = (
        f"while sleep 0.5; do found=$(docker inspect --format '{label}' {RAY_CONTAINER}) || continue; "
        f"[ $found = {serves} ] || docker kill {RAY_CONTAINER}; done"
    )
    stage.run(VICTIM, f"systemd-run --quiet --collect --unit killer sh -c {shlex.quote(killer)}")
    try:
        with rewritten(CLUSTER, ("ray:\n", f"ray:\n  environment: {{{FLAG}: moved}}\n")):
            yield
    finally:
        stage.run(VICTIM, "systemctl stop killer", check=False)


# Runs and their descriptions.


def closed_window() -> tuple[tuple[str, str], ...]:
    """A description that needs a restart, and whose window is closed today."""
    closed = DAYS[(datetime.now(UTC) + timedelta(days=2)).weekday()]
    return (
        ("ray:\n", f"ray:\n  environment: {{{FLAG}: moved}}\n"),
        ('window: {start: "00:00"', f'window: {{days: [{closed}], start: "00:00"'),
    )


@contextmanager
def restart_due(stage: Stage) -> Iterator[None]:
    """The description of the gang has moved, and the window is closed today."""
    with rewritten(CLUSTER, *closed_window()):
        yield


@contextmanager
def window_about_to_close(stage: Stage) -> Iterator[None]:
    """A restart is due, and the window closes before it could be done."""
    zone = describe("lab").cluster.reconcile.zone
    end = f"{datetime.now(zone) + timedelta(minutes=9):%H:%M}"
    changes = (
        ("ray:\n", f"ray:\n  environment: {{{FLAG}: moved}}\n"),
        ('window: {start: "00:00", end: "23:59"', f'window: {{start: "00:00", end: "{end}"'),
    )
    with rewritten(CLUSTER, *changes):
        yield


@contextmanager
def long_request(stage: Stage) -> Iterator[None]:
    """A restart is due, and a client's request goes on."""
    described = describe("lab")
    body = {"model": described.served_name, "prompt": "Go on.", "max_tokens": 6000, "ignore_eos": True}
    asked = f"curl -sS --max-time 600 -H 'Content-Type: application/json' -d {shlex.quote(json.dumps(body))}"
    words = ["ssh", "-F", str(stage.lab.ssh_config), HEAD, f"{asked} {described.local_url}/v1/completions"]
    with rewritten(CLUSTER, ("ray:\n", f"ray:\n  environment: {{{FLAG}: moved}}\n")), stage.begun(words) as request:
        yield
        assert request.poll() is None, "the request ended before the run: ask for more tokens"
        request.kill()


@contextmanager
def suspended_by_somebody(stage: Stage) -> Iterator[None]:
    """Somebody suspended the runs."""
    done = stage.aside('gx10 suspend "swapping a disk" --until 3d')
    assert done.status == 0, done.text
    try:
        yield
    finally:
        stage.aside("gx10 resume")


def suspension_damaged(stage: Stage) -> None:
    """The file that says so is damaged."""
    stage.run(HEAD, "echo '{' > /var/lib/gx10/suspended.json")


HOLDER = """
import sys, time
from pathlib import Path
from gx10.described.description import describe
from gx10.described.units import GENERATION_LABEL, RAY_CONTAINER
from gx10.access.lock import locked
with locked(describe("lab"), Path(sys.argv[1]), "a deploy by hand", 3600):
    print("held", flush=True)
    time.sleep(3600)
"""


@contextmanager
def lock_held(stage: Stage) -> Iterator[Mapping[str, str]]:
    """Another node's run holds the lock, and does nothing any more."""
    with tempfile.TemporaryDirectory() as elsewhere:
        words = [sys.executable, "-c", HOLDER, elsewhere]
        with subprocess.Popen(words, cwd=PROJECT, stdout=subprocess.PIPE, text=True, start_new_session=True) as holder:
            try:
                assert holder.stdout
                assert holder.stdout.readline() == "held\n"
                yield {"4711": str(holder.pid)}
            finally:
                os.killpg(holder.pid, signal.SIGKILL)


KILL_KEEPER = "kill -KILL $(sed 's/.*\"pid\": \\([0-9]*\\).*/\\1/' /run/gx10/lock/holder.json)"


@contextmanager
def lock_held_by_the_dead(stage: Stage) -> Iterator[None]:
    """What keeps a run's lock on the head was killed, so that nothing there tidied up after it."""
    with lock_held(stage):
        stage.run(HEAD, KILL_KEEPER)
    yield


@contextmanager
def drifted(stage: Stage) -> Iterator[Mapping[str, str]]:
    """Somebody edited a file of ours on a worker, and put one of their own beside it."""
    stage.run(VICTIM, "echo '# by hand' >> /etc/sysctl.d/90-gx10.conf; touch /etc/gx10/mine.conf")
    try:
        yield {"HOST": HEAD}
    finally:
        stage.run(VICTIM, "rm -f /etc/gx10/mine.conf", check=False)


def theirs_moved(stage: Stage) -> None:
    """What was added moves to where it belongs."""
    stage.run(VICTIM, "rm -f /etc/gx10/mine.conf")


def came_back_on_two_nights(stage: Stage) -> None:
    """The same edit was put back on the two nights before, and is there again."""
    file = stage.state / "lab/memory.json"
    memory = json.loads(file.read_text())
    yesterday = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
    for seen in memory["seen"].values():
        seen.update(nights=2, last=yesterday)
    assert memory["seen"], "the run has put nothing back"
    file.write_text(json.dumps(memory))
    stage.run(VICTIM, "echo '# by hand' >> /etc/sysctl.d/90-gx10.conf")


def could_not_be_put_back_before(stage: Stage) -> None:
    """The same edit could not be put back on nights before, and rests until tomorrow."""
    file = stage.state / "lab/memory.json"
    memory = json.loads(file.read_text())
    tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"
    for seen in memory["seen"].values():
        seen.update(nights=0, flapping=False, failures=3, resumes=tomorrow)
    assert memory["seen"], "nothing is remembered of what flapped"
    file.write_text(json.dumps(memory))


def put_back_by_hand(stage: Stage) -> None:
    """Whoever wrote there was found."""
    stage.serves()


@contextmanager
def night_has_run(stage: Stage) -> Iterator[Mapping[str, str]]:
    """The installed run was started, as its timer starts it."""
    stage.run(HEAD, "systemctl start gx10-reconcile.service", check=False, seconds=600)
    yield {"HOST": HEAD}


@contextmanager
def unit_edited(stage: Stage) -> Iterator[None]:
    """A deploy ended between writing what configures the gang and restarting it, on one host."""
    stage.run(HEAD, "echo GX10_GENERATION=0123456789abcdef > /etc/gx10/generation.env")
    yield


# Hosts that leave, heads that come back.


@contextmanager
def host_left(stage: Stage) -> Iterator[Mapping[str, str]]:
    """Two workers were taken out of the cluster file, since three hosts cannot share the lab's model.

    In the end they are described again.
    """
    recipe = PROJECT / "recipes/lab-two.yaml"
    recipe.write_text("gx10:\n  extends: lab-nemotron-3-ultra\ndefaults: {tensor_parallel: 2}\n", encoding="utf-8")
    lines = CLUSTER.read_text().splitlines(keepends=True)
    left = [(line, "") for line in lines if line.startswith(("  gx10-3:", "  gx10-4:"))]
    try:
        with rewritten(CLUSTER, *left, ("recipe: lab-nemotron-3-ultra", "recipe: lab-two")):
            yield {"192.0.2.14": "10.77.0.14"}
    finally:
        recipe.unlink()
        stage.serves()


KNOWN = "/var/lib/gx10/hosts.json"
"""Which hosts the cluster has had, on every host."""


def left_is_noted(stage: Stage) -> None:
    """Keep what the hosts know of the one that left; the other is let go."""
    done = stage.aside("gx10 retire gx10-3 --forget")
    assert done.status == 0, done.text
    (stage.state / "known").write_text(stage.run(HEAD, f"cat {KNOWN}"))


def known_again(stage: Stage) -> None:
    """The same host is found as it left, for another way to let it go."""
    text = shlex.quote((stage.state / "known").read_text())
    for host in (HEAD, "gx10-2"):
        stage.run(host, f"printf %s {text} > {KNOWN}")


@contextmanager
def foreign_head(stage: Stage) -> Iterator[Mapping[str, str]]:
    """A worker's supervisor was configured as the head, as one is that was replaced while it was off."""
    stage.run("gx10-2", 'sed -i \'s/"head": *"gx10-1"/"head": "gx10-2"/\' /etc/gx10/gang.json')
    stage.run("gx10-2", "systemctl restart gx10-gang")
    yield {"FOREIGN": "gx10-2"}


def foreign_orders(stage: Stage) -> None:
    """Wait until the head speaks of it, and waits for the host that does not obey it."""
    stage.until("gx10 status", "obeys gx10-2 .* foreign head")


# Checkouts.


def own_file(text: Callable[[], str]) -> Situation:
    """The reader has written clusters/mine.yaml."""

    @contextmanager
    def situation(_: Stage) -> Iterator[None]:
        MINE.write_text(text(), encoding="utf-8")
        try:
            yield
        finally:
            MINE.unlink()

    return situation


unedited = own_file(lambda: (PROJECT / "clusters/example.yaml").read_text(encoding="utf-8"))
edited = own_file(lambda: CLUSTER.read_text(encoding="utf-8").replace("name: lab", "name: mine", 1))


@contextmanager
def serving_another(stage: Stage) -> Iterator[None]:
    """Another recipe stands there; in the end the cluster file names the first again."""
    with rewritten(CLUSTER):
        yield
    stage.serves()


@contextmanager
def fresh_checkout(stage: Stage) -> Iterator[None]:
    """A checkout in which nothing was made yet."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, check=True).stdout
    with tempfile.TemporaryDirectory() as directory:
        for name in listed.decode().split("\0"):
            if name and (PROJECT / name).is_file():
                target = Path(directory) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(PROJECT / name, target)
        stage.project = Path(directory)
        yield


@contextmanager
def own_lab(stage: Stage) -> Iterator[None]:
    """A checkout that has no lab yet."""
    with fresh_checkout(stage):
        checkout = str(stage.project)
        # Disks of a second lab are almost empty: what the first needs to be free is not needed twice.
        stage.environment |= {"GX10_CHECKOUT": checkout, "GX10_LAB_REQUIRED_FREE_GB": "0"}
        stage.lab = Lab.for_checkout(stage.project)
        try:
            yield
        finally:
            stage.aside("gx10 lab down")

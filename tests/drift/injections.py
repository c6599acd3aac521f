"""Kinds of drift: what somebody does to a host, and what a night must say and do about it."""

from __future__ import annotations

from dataclasses import dataclass

from gx10.engine.description import describe
from gx10.reconcile.classes import Drift
from gx10.reconcile.classify import Decision

DESCRIBED = describe("lab")
IMAGE = DESCRIBED.image_reference
MODEL = DESCRIBED.model_directory
ARCHIVE = str(DESCRIBED.cluster.paths.archive)
HEAD, WORKERS, ALL = "head", "workers", "all"
UNITS, PROGRAMS = "/etc/systemd/system", "/usr/local/lib/gx10"


@dataclass(frozen=True)
class Injection:
    """One kind of drift."""

    name: str
    """What somebody did, as a name."""
    script: str
    """How, as a shell script on the host. `$WEIGHTS` is a file of weights, `$BLOB` one of the archive."""
    subject: str
    """Regular expression that the subject of the finding matches."""
    drift: Drift = Drift.HEAL
    decision: Decision = Decision.PUT_BACK
    where: str = ALL
    """Which hosts it can happen to."""
    alone: bool = False
    """Whether something else on the same host in the same night would take it back or hide it."""
    undo: str = ""
    """How its owner takes it back, where a night does not."""

    @property
    def reported(self) -> bool:
        """Whether it stays until its owner takes it back."""
        return self.decision is Decision.REPORT


def told(  # noqa: PLR0917 - a row of a table
    name: str, script: str, subject: str, undo: str, where: str = ALL, drift: Drift = Drift.REPORT
) -> Injection:
    """A kind that is reported and stays."""
    return Injection(name, script, subject, drift, Decision.REPORT, where, undo=undo)


# A file keeps its time, and gets another inode: archives of several labs are hard links of each other.
FLIP = (
    "cp -p --reflink=never {file} /root/flip && printf '\\377\\000\\377' | dd of=/root/flip bs=1 seek=100 conv=notrunc "
    "status=none && touch -r {file} /root/flip && mv /root/flip {file}"
)
ANOTHER_IMAGE = "tar c --files-from /dev/null | docker import - another:1 >/dev/null"

FILES = (
    Injection("edited", "echo '# by hand' >> /etc/sysctl.d/90-gx10.conf", r"90-gx10\.conf"),
    Injection("deleted", "rm /etc/gx10/share.conf", r"share\.conf"),
    Injection("mode widened", f"chmod 666 {UNITS}/gx10-share.service", r"gx10-share\.service"),
    Injection("owner changed", "chown nobody /etc/gx10/firewall.nft", r"firewall\.nft"),
    Injection("replaced by a link", f"mv {PROGRAMS}/proof.py /root/p; ln -s /root/p {PROGRAMS}/proof.py", r"proof\.py"),
    Injection("replaced by a directory", f"rm {PROGRAMS}/stream.py; mkdir {PROGRAMS}/stream.py", r"stream\.py"),
    Injection("emptied", f": > {PROGRAMS}/manifest.py", r"manifest\.py"),
    Injection("no longer executable", f"chmod a-x {PROGRAMS}/completion.py", r"completion\.py"),
    Injection("directory closed", "chmod 700 /etc/gx10", r"^/etc/gx10$"),
    Injection("directory given away", "chown nobody:nogroup /srv/models", r"^/srv/models$"),
    Injection("names removed", "sed -i '/gx10: begin/,/gx10: end/d' /etc/hosts", r"^/etc/hosts$"),
    Injection("name redirected", "sed -i 's/^10.77.1.12 /10.77.1.99 /' /etc/hosts", r"^/etc/hosts$"),
    Injection("name overruled", "sed -i '1i 192.0.2.1 gx10-1' /etc/hosts", r"^/etc/hosts$"),
)
UNITS_AND_LIVE = (
    Injection("disabled", "systemctl disable --quiet gx10-share.service", r"gx10-share\.service"),
    Injection("masked", f"ln -sf /dev/null {UNITS}/gx10-firewall.service; systemctl daemon-reload", r"gx10-firewall"),
    Injection("stopped", "systemctl stop gx10-share.service", r"gx10-share\.service"),
    Injection("firewall stopped", "systemctl stop gx10-firewall.service", r"gx10-firewall\.service"),
    Injection("parameter changed live", "sysctl -qw net.ipv4.tcp_mtu_probing=0", r"tcp_mtu_probing"),
    Injection("rules flushed live", "nft flush chain inet gx10 input", r"gx10-firewall\.service"),
    Injection("rule added live", "nft insert rule inet gx10 input tcp dport 6379 accept", r"gx10-firewall\.service"),
    Injection("table removed live", "nft delete table inet gx10", r"gx10-firewall\.service"),
    Injection(
        "older text in systemd",
        f"cp -p {UNITS}/gx10-share.service /root/u; echo '# x' >> {UNITS}/gx10-share.service; systemctl daemon-reload; "
        f"cat /root/u > {UNITS}/gx10-share.service; touch {UNITS}/gx10-share.service",
        r"gx10-share\.service",
        alone=True,
    ),
    Injection(
        "executable replaced",
        "p=$(readlink -f /usr/bin/python3); cp -p $p $p.new && mv $p.new $p",
        r"gx10-share\.service",
    ),
    Injection("another boot target", "systemctl set-default --quiet graphical.target", r"default\.target"),
    Injection("started beside its marker", "rm /run/gx10/gx10-share.service", r"gx10-share\.service"),
)
GANG = (
    Injection("environment of Ray edited", "echo BY_HAND=1 >> /etc/gx10/ray.env", r"ray\.env"),
    Injection("environment of the engine edited", "echo BY_HAND=1 >> /etc/gx10/engine.env", r"engine\.env", where=HEAD),
    Injection("generation edited", "echo GX10_GENERATION=mine > /etc/gx10/generation.env", r"generation\.env"),
    Injection(
        "command of a rank edited",
        f"sed -i 's/--num-cpus [0-9]*/--num-cpus 9/' {UNITS}/ray-worker.service",
        r"ray-worker\.service",
        where=WORKERS,
    ),
    Injection("supervisor not started at boot", "systemctl disable -q gx10-gang.service", r"gx10-gang\.service$"),
    Injection(
        "supervisor masked",
        f"ln -sf /dev/null {UNITS}/gx10-gang.service; systemctl daemon-reload",
        r"gx10-gang\.service$",
    ),
    Injection("supervisor beside its marker", "rm /run/gx10/gx10-gang.service", r"^gx10-gang\.service$"),
    Injection("supervisor's configuration edited", "echo >> /etc/gx10/gang.json", r"gang\.json"),
    Injection("what was applied is forgotten", "rm /var/lib/gx10/applied.json", r"applied\.json", where=HEAD),
)
CONTENT = (
    Injection("weights deleted", "rm $WEIGHTS", r"not-proven|safetensors|json", where=WORKERS),
    Injection("weights cut short", "truncate -s -9 $WEIGHTS", r"safetensors", where=WORKERS),
    Injection("weights emptied", ": > $WEIGHTS", r"safetensors", where=WORKERS),
    Injection("weights led elsewhere", "mv $WEIGHTS /root/w; ln -s /root/w $WEIGHTS", r"safetensors", where=WORKERS),
    Injection("bit flipped in weights", FLIP.format(file="$WEIGHTS"), r"safetensors", where=WORKERS),
    Injection("bit flipped in weights of the head", FLIP.format(file="$WEIGHTS"), r"safetensors", where=HEAD),
    Injection("manifest deleted", f"rm {MODEL}/.gx10-manifest.json", r"\w", where=WORKERS, alone=True),
    Injection("archive pruned", "rm $BLOB", r"^archive of", where=HEAD),
    Injection("bit flipped in archive", FLIP.format(file="$BLOB"), r"^archive of", where=HEAD),
    Injection("image retagged", f"{ANOTHER_IMAGE}; docker tag another:1 {IMAGE}", r"^vllm-node", where=WORKERS),
    Injection("image untagged", f"docker image rm --force {IMAGE} >/dev/null", r"^vllm-node", where=HEAD, alone=True),
)
REPORTED = (
    told("file added", "touch /etc/gx10/mine.conf", r"mine\.conf", "rm /etc/gx10/mine.conf"),
    told("program added", f"touch {PROGRAMS}/mine.py", r"mine\.py", f"rm {PROGRAMS}/mine.py"),
    told(
        "drop-in added",
        f"mkdir {UNITS}/gx10-share.service.d; printf '[Service]\\nNice=5\\n' > {UNITS}/gx10-share.service.d/mine.conf; "
        "systemctl daemon-reload",
        r"gx10-share\.service\.d/mine\.conf",
        f"rm -r {UNITS}/gx10-share.service.d; systemctl daemon-reload",
    ),
    told(
        "drop-in until boot",
        "systemctl set-property --runtime ray-worker.service CPUWeight=50",
        r"ray-worker\.service\.d/",
        # Not `systemctl revert`, which takes away what the supervisor wrote for this life as well.
        "rm -rf /run/systemd/system.control/ray-worker.service.d; systemctl daemon-reload",
        WORKERS,
    ),
    told(
        "drop-in of the supervisor",
        f"mkdir {UNITS}/gx10-gang.service.d; printf '[Service]\\nNice=5\\n' > {UNITS}/gx10-gang.service.d/mine.conf; "
        "systemctl daemon-reload",
        r"gx10-gang\.service\.d/mine\.conf",
        f"rm -r {UNITS}/gx10-gang.service.d; systemctl daemon-reload",
    ),
    told(
        "container added",
        f"docker run --detach --name mine --entrypoint sleep {IMAGE} 3600 >/dev/null",
        r"^container mine$",
        "docker rm --force mine >/dev/null",
    ),
    told(
        "disk filled",
        f"mount -t tmpfs -o size=4600m tmpfs {ARCHIVE}",
        r"^space in",
        f"umount {ARCHIVE}",
        WORKERS,
    ),
    told(
        "daemon's executable replaced",
        "cp -p /usr/sbin/sshd /usr/sbin/sshd.new && mv /usr/sbin/sshd.new /usr/sbin/sshd",
        r"^ssh\.service$",
        "systemctl restart ssh",
    ),
    told("reboot wanted", "touch /run/reboot-required", r"^reboot$", "rm /run/reboot-required", ALL, Drift.REBOOT),
)
OWN = (
    Injection("timer off", "systemctl disable --now -q gx10-reconcile.timer", r"gx10-reconcile\.timer", where=HEAD),
    Injection("timer stopped", "systemctl stop gx10-reconcile.timer", r"gx10-reconcile\.timer", where=HEAD),
    Injection("own unit edited", f"sed -i s/strict/no/ {UNITS}/gx10-reconcile.service", r"gx10-reconcile", where=HEAD),
    Injection("own command edited", "echo '#' >> /opt/gx10/bin/gx10", r"/opt/gx10/bin/gx10", where=HEAD),
    Injection("own project edited", "echo '#' >> /opt/gx10/project/deploy.py", r"deploy\.py", where=HEAD),
    Injection("file in the own project", "touch /opt/gx10/project/gx10/mine.py", r"mine\.py", where=HEAD),
    Injection("own environment edited", "tee -a /opt/gx10/env-*/lib/python3*/site-packages/click/core.py < /etc/hosts",
              r"/opt/gx10/env-", where=HEAD),
    Injection("own key removed", "sed -i /gx10-reconcile@/d /root/.ssh/authorized_keys", r"^authorized_keys$"),
    Injection("own key opened", "sed -i 's/^from=[^ ]* \\(.*gx10-reconcile@\\)/\\1/' /root/.ssh/authorized_keys",
              r"^authorized_keys$"),
    Injection("known hosts edited", "sed -i 1d /opt/gx10/known_hosts", r"known_hosts", where=HEAD),
)  # fmt: skip

NIGHTS: tuple[tuple[Injection, ...], ...] = (FILES, UNITS_AND_LIVE, GANG, CONTENT, REPORTED, OWN)
EVERY = tuple(injection for night in NIGHTS for injection in night)

"""Kinds of drift: what somebody does to a host, and what a night must say and do about it."""

from __future__ import annotations

from dataclasses import dataclass

from gx10.described.description import describe
from gx10.drift.classes import Drift
from gx10.drift.classify import Decision

DESCRIBED = describe("lab")
IMAGE = DESCRIBED.image_reference
MODEL = DESCRIBED.model_directory
ARCHIVE = str(DESCRIBED.cluster.paths.archive)
HEAD, WORKERS, ALL = "head", "workers", "all"
UNITS, PROGRAMS = "/etc/systemd/system", "/usr/local/lib/gx10_host"
MODULES = f"{PROGRAMS}/content"


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

RELOAD = "systemctl daemon-reload"
STRONGER = "/run/systemd/system.control"
AT_BOOT, SHARE = f"{UNITS}/multi-user.target.wants", f"{UNITS}/gx10-share.service"
PACKAGES = "/opt/gx10/env-*/lib/python3*/site-packages"
BYTE_CODE = f"{PROGRAMS}/__pycache__"
DAEMON = "/etc/docker/daemon.json"
CONFIGURED_ANEW = f"""
import json, pathlib
path = pathlib.Path("{DAEMON}")
path.write_text(json.dumps({{**(json.loads(path.read_text()) if path.exists() else {{}}), "debug": True}}))
"""


def drop_in(directory: str, text: str = "[Service]\\nNice=1") -> str:
    """Somebody puts a drop-in into a directory, and lets systemd read it."""
    return f"mkdir -p {directory}; printf '{text}\\n' > {directory}/mine.conf; {RELOAD}"


def drop_out(directory: str) -> str:
    """And takes it away."""
    return f"rm {directory}/mine.conf; rmdir {directory}; {RELOAD}"


def nft(text: str) -> str:
    """Somebody loads rules."""
    return f"printf %s '{text}' | nft -f -"


FILES = (
    Injection("edited", "echo '# by hand' >> /etc/sysctl.d/90-gx10.conf", r"90-gx10\.conf"),
    Injection("deleted", "rm /etc/gx10/share.conf", r"share\.conf"),
    Injection("mode widened", f"chmod 666 {UNITS}/gx10-share.service", r"gx10-share\.service"),
    Injection("owner changed", "chown nobody /etc/gx10/firewall.nft", r"firewall\.nft"),
    Injection("replaced by a link", f"mv {MODULES}/proof.py /root/p; ln -s /root/p {MODULES}/proof.py", r"proof\.py"),
    Injection("replaced by a directory", f"rm {MODULES}/stream.py; mkdir {MODULES}/stream.py", r"stream\.py"),
    Injection("emptied", f": > {MODULES}/manifest.py", r"manifest\.py"),
    Injection("no longer executable", "chmod a-x /usr/local/bin/gx10-host", r"/gx10-host$"),
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
    told(
        "daemon configured anew",
        f"cp -p {DAEMON} /root/d || true; python3 -c '{CONFIGURED_ANEW}'",
        r"^Docker daemon, /etc/docker/daemon\.json: debug$",
        f"mv /root/d {DAEMON} || rm {DAEMON}",
    ),
    told(
        "daemon with a drop-in",
        drop_in(f"{UNITS}/docker.service.d", "[Service]\\nOOMScoreAdjust=-400"),
        r"^Docker daemon, drop-in .*docker\.service\.d/mine\.conf$",
        drop_out(f"{UNITS}/docker.service.d"),
    ),
    told("reboot wanted", "touch /run/reboot-required", r"^reboot$", "rm /run/reboot-required", ALL, Drift.REBOOT),
)
AROUND_UNITS = (
    told(
        "drop-in of the timer",
        drop_in(f"{UNITS}/gx10-reconcile.timer.d", "[Timer]\\nOnCalendar=\\nOnCalendar=2099-01-01"),
        r"gx10-reconcile\.timer\.d/mine\.conf",
        drop_out(f"{UNITS}/gx10-reconcile.timer.d"),
        HEAD,
    ),
    told(
        "drop-in of every service",
        drop_in("/run/systemd/system/service.d"),
        r"/system/service\.d/mine\.conf",
        drop_out("/run/systemd/system/service.d"),
    ),
    told(
        "drop-in by prefix",
        drop_in(f"{UNITS}/gx10-.service.d"),
        r"gx10-\.service\.d/mine\.conf",
        drop_out(f"{UNITS}/gx10-.service.d"),
    ),
    told(
        "drop-in where packages put theirs",
        drop_in("/usr/local/lib/systemd/system/gx10-firewall.service.d"),
        r"gx10-firewall\.service\.d/mine\.conf",
        drop_out("/usr/local/lib/systemd/system/gx10-firewall.service.d"),
    ),
    told(
        "drop-in that systemd has not read yet",
        drop_in("/usr/lib/systemd/system/gx10-gang.service.d").removesuffix(RELOAD),
        r"gx10-gang\.service\.d/mine\.conf",
        drop_out("/usr/lib/systemd/system/gx10-gang.service.d"),
    ),
    told(
        "text of a stronger directory",
        f"mkdir -p {STRONGER}; sed s/Read-only/My/ {SHARE} > {STRONGER}/gx10-share.service; {RELOAD}",
        r"system\.control/gx10-share\.service$",
        f"rm {STRONGER}/gx10-share.service; {RELOAD}",
    ),
    told(
        "mask of a stronger directory",
        f"mkdir -p {STRONGER}; ln -s /dev/null {STRONGER}/gx10-share.service; {RELOAD}",
        r"system\.control/gx10-share\.service$",
        f"rm {STRONGER}/gx10-share.service; {RELOAD}",
    ),
    told(
        "mask until boot",
        f"ln -s /dev/null /run/systemd/system/gx10-firewall.service; {RELOAD}",
        r"/run/systemd/system/gx10-firewall\.service$",
        f"rm /run/systemd/system/gx10-firewall.service; {RELOAD}",
    ),
    told(
        "rank started at boot",
        f"ln -s {UNITS}/ray-worker.service {AT_BOOT}/ray-worker.service; {RELOAD}",
        r"multi-user\.target\.wants/ray-worker\.service$",
        f"rm {AT_BOOT}/ray-worker.service; {RELOAD}",
        WORKERS,
    ),
    told(
        "parameters not set at boot",
        f"ln -s /dev/null {UNITS}/systemd-sysctl.service; {RELOAD}",
        r"^systemd-sysctl\.service$",
        f"rm {UNITS}/systemd-sysctl.service; {RELOAD}",
    ),
    told(
        "another unit pulled in",
        f"mkdir {SHARE}.wants; ln -s /usr/lib/systemd/system/rescue.service {SHARE}.wants/mine.service; {RELOAD}",
        r"gx10-share\.service\.wants/mine\.service$",
        f"rm -r {SHARE}.wants; {RELOAD}",
    ),
    Injection(
        "link at boot led nowhere",
        f"ln -sf /dev/null {AT_BOOT}/gx10-share.service; {RELOAD}",
        r"^gx10-share\.service$",
        alone=True,
    ),
    Injection(
        "link at boot to another text",
        f"cp {UNITS}/gx10-gang.service /root/; ln -sf /root/gx10-gang.service {AT_BOOT}/; {RELOAD}",
        r"^gx10-gang\.service$",
        alone=True,
    ),
    Injection(
        "timer held with another calendar",
        f"cd {UNITS}; cp -p gx10-reconcile.timer /root/t; sed -i s/02:30/03:30/ gx10-reconcile.timer; "
        f"touch -r /root/t gx10-reconcile.timer; {RELOAD}; systemctl restart gx10-reconcile.timer; "
        "cat /root/t > gx10-reconcile.timer; touch -r /root/t gx10-reconcile.timer",
        r"^gx10-reconcile\.timer$",
        where=HEAD,
        alone=True,
    ),
)
BESIDE = (
    told("parameter overridden at boot", "echo net.ipv4.tcp_mtu_probing=0 > /etc/sysctl.d/99-mine.conf",
         r"^net\.ipv4\.tcp_mtu_probing at the next boot$", "rm /etc/sysctl.d/99-mine.conf"),
    told("parameter overridden at boot, in other words",
         "mkdir -p /run/sysctl.d; echo '-net/ipv4/tcp_slow_start_after_idle = 1' > /run/sysctl.d/98-mine.conf",
         r"^net\.ipv4\.tcp_slow_start_after_idle at the next boot$", "rm /run/sysctl.d/98-mine.conf"),
    told("byte code beside programs", f"mkdir {BYTE_CODE}; touch {BYTE_CODE}/proof.cpython-312.pyc", r"/__pycache__$",
         f"rm -r {BYTE_CODE}"),
    told("library beside programs", f"touch {MODULES}/manifest.so", r"/manifest\.so$", f"rm {MODULES}/manifest.so"),
    told("package of a program's name", f"mkdir {MODULES}/landing; touch {MODULES}/landing/__init__.py", r"/landing$",
         f"rm -r {MODULES}/landing"),
    told("link of a program's name", f"ln -s /root {MODULES}/stream", r"/stream$", f"rm {MODULES}/stream"),
    told("another table drops", nft("table inet mine { chain in { type filter hook input priority 5; "
         "tcp dport { 1, 6380-6385 } ip daddr != 192.0.2.1 ct state new limit rate 1/hour drop; "
         "tcp dport { 1, 6383-6385 } ip daddr != 192.0.2.1 ct state new drop; }; }"),
         r"^inet mine, chain in: tcp dport \{ 1, 6383-6385 ", "nft delete table inet mine"),
    told("another table redirects", nft("table ip led { chain away { tcp dport != 1 redirect to :9; }; chain pre { "
         "type nat hook prerouting priority -100; tcp dport vmap { 6386 : goto away, 6385 : jump away }; }; }"),
         r"^ip led, chain away: tcp dport != 1 redirect to :9$", "nft delete table ip led"),
    told("iptables drops", "iptables -I INPUT -i fabric0 -p tcp -m multiport --dports 6385,9 -j DROP",
         r"^iptables-nft filter, chain INPUT: -A INPUT",
         "iptables -D INPUT -i fabric0 -p tcp -m multiport --dports 6385,9 -j DROP"),
    told("ip6tables rejects", "ip6tables -I INPUT -p tcp --dport 22 -j REJECT", r"^ip6tables-nft filter, chain INPUT: ",
         "ip6tables -D INPUT -p tcp --dport 22 -j REJECT"),
)  # fmt: skip
OWN = (
    Injection("timer off", "systemctl disable --now -q gx10-reconcile.timer", r"gx10-reconcile\.timer", where=HEAD),
    Injection("timer stopped", "systemctl stop gx10-reconcile.timer", r"gx10-reconcile\.timer", where=HEAD),
    Injection("own unit edited", f"sed -i s/strict/no/ {UNITS}/gx10-reconcile.service", r"gx10-reconcile", where=HEAD),
    Injection("own command edited", "echo '#' >> /opt/gx10/bin/gx10", r"/opt/gx10/bin/gx10", where=HEAD),
    Injection("own project edited", "echo '#' >> /opt/gx10/project/deploy.py", r"deploy\.py", where=HEAD),
    Injection("file in the own project", "touch /opt/gx10/project/gx10/mine.py", r"mine\.py", where=HEAD),
    Injection("own environment edited", "echo >> $(echo /opt/gx10/env-*/lib/python3*/site-packages/click)/core.py",
              r"/opt/gx10/env-", where=HEAD),
    Injection("own key opened", "sed -i 's/^from=[^ ]* \\(.*gx10-reconcile@\\)/\\1/' /root/.ssh/authorized_keys",
              r"^authorized_keys$"),
    Injection("byte code in the own project", "mkdir /opt/gx10/project/gx10/__pycache__; "
              "touch /opt/gx10/project/gx10/__pycache__/cli.cpython-312.pyc", r"/gx10/__pycache__$", where=HEAD),
    Injection("cache in the own project", "mkdir /opt/gx10/project/.pytest_cache", r"/\.pytest_cache$", where=HEAD),
    Injection("library in the own project", "touch /opt/gx10/project/gx10/cli.so", r"/cli\.so$", where=HEAD),
    Injection("link in the own project", "ln -s /root /opt/gx10/project/gx10/status", r"/gx10/status$", where=HEAD),
    Injection("own project opened", "chmod 777 /opt/gx10/project/gx10", r"/opt/gx10/project/gx10$", where=HEAD),
    Injection("byte code in the own environment", f"touch $(echo {PACKAGES})/click/__pycache__/x.pyc",
              r"/opt/gx10/env-", where=HEAD, alone=True),
    Injection("link in the own environment", f"ln -s /root $(echo {PACKAGES})/yaml_",
              r"/opt/gx10/env-", where=HEAD, alone=True),
    Injection("what the daemon was is forgotten", "rm /var/lib/gx10/docker-served.json", r"docker-served\.json$"),
    Injection("what the daemon was is forged", "echo '{}' > /var/lib/gx10/docker-served.json", r"docker-served\.json$",
              alone=True),
)  # fmt: skip

NIGHTS: tuple[tuple[Injection, ...], ...] = (
    FILES, UNITS_AND_LIVE, GANG, CONTENT, REPORTED, AROUND_UNITS, BESIDE, OWN
)  # fmt: skip
EVERY = tuple(injection for night in NIGHTS for injection in night)

"""What and how: for every object that the deploy puts on a host, what somebody does to it, and what a night must say.

Objects come from the description itself (`placed`), so that whatever is added to a deploy is injected as well. What
cannot be done to a kind of object has its reason in `NOT_DONE`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import PurePosixPath

from gx10_host import ENTRY

from gx10.closure import closure
from gx10.described import gang_files, host_files, watch_files
from gx10.described.description import Description
from gx10.described.placed import Kind, Placed, placed
from gx10.drift.classes import Drift
from gx10.drift.classify import Decision
from gx10.settings import PROJECT

UNITS = host_files.UNITS
RELOAD = "systemctl daemon-reload"
ASIDE = "/srv/aside"  # readable by the reconciler, as what it leads to is
PROGRAMS = f"/{host_files.PROGRAMS}"
DROP_IN_DIRECTORIES = (
    UNITS,
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/etc/systemd/system.control",
)


NEEDED = {watch_files.ARCHIVE, watch_files.KNOWN_HOSTS, ENTRY} | {
    f"/usr/local/lib/{file}" for module in ("__main__", watch_files.RESTORES) for file in closure(PROJECT, module)
}
"""Files that every night needs before it can find anything."""


class How(StrEnum):
    """What somebody does to an object."""

    EDIT = "edit"
    REMOVE = "remove"
    OVERRIDE = "override"
    MASK = "mask"


class Finder(StrEnum):
    """Who must find it."""

    NIGHT = "the night"
    OWNER = "a plan by its owner"
    """The reconciler itself does not run any more, or cannot log in: its unit fails, which is told, and the plan of
    whoever deploys names the cause."""


@dataclass(frozen=True)
class Cell:
    """One object on one host, and one thing that is done to it."""

    what: Placed
    host: str
    how: How
    where: str
    """Beside `how`, where it is done: a directory of drop-ins, `live`, `the next boot`."""
    script: str
    subject: str
    """Regular expression that the subject of the finding matches."""
    drift: Drift
    decision: Decision
    undo: str = ""
    """How its owner takes it back, where a night does not."""
    alone: bool = False
    """Whether nothing else on this host may be told apart from it in the same night."""
    finder: Finder = Finder.NIGHT

    @property
    def key(self) -> str:
        """The cell, on whichever of the hosts that have its object."""
        return f"{self.how}{f' ({self.where})' if self.where else ''}: {self.what.kind} {self.what.name}"

    @property
    def name(self) -> str:
        """The cell in words."""
        return f"{self.key} on {self.host}"


def in_the_way(cell: Cell, other: Cell) -> bool:
    """Whether two cells on one host cannot be told apart, or undone, in one night."""
    shadows = [each.how is How.OVERRIDE and each.what.name.startswith(f"{PROGRAMS}/") for each in (cell, other)]
    stops = [each.where == STOPPED for each in (cell, other)]
    # What was stopped is started again, with whatever lies beside its program and is only told of.
    hinders = (shadows[0] and stops[1]) or (shadows[1] and stops[0])
    return topic(cell) == topic(other) or (cell.alone and other.alone) or hinders


STOPPED = "what runs of it"
NOT_DONE = {
    (Kind.DIRECTORY, How.REMOVE): "what lies in it goes with it, and each of that is removed by itself",
    (Kind.DIRECTORY, How.MASK): "a directory has no mask",
    (Kind.PACKAGE, How.EDIT): "versions are the distribution's own affair",
    (Kind.PACKAGE, How.OVERRIDE): "versions are the distribution's own affair",
    (Kind.PACKAGE, How.MASK): "versions are the distribution's own affair",
    (Kind.KEY, How.MASK): "a file of keys that sshd does not read locks its owner out as well, who sees that at once",
    (Kind.PARAMETER, How.MASK): "a parameter has no mask: its file is masked as a file, and overridden by another one",
    (Kind.BLOCK, How.MASK): "a file of somebody else's that leads nowhere is that somebody's to repair",
    (Kind.UNIT, How.REMOVE): "a unit that nothing starts at boot has no link there, and its text is removed as a file",
    (Kind.USER, How.MASK): "a user has no mask: an account that has expired is the override",
}
"""What is not done to a kind of object, and why."""


def cells(description: Description) -> Iterator[Cell]:
    """Everything that is done to everything. What stands on several hosts is touched on one of them, each way on
    another one."""
    hosts_of: dict[tuple[Kind, str], list[tuple[str, Placed]]] = {}
    for host in description.cluster.hosts:
        for what in placed(description, host):
            hosts_of.setdefault((what.kind, what.name), []).append((host, what))
    turn = 0
    for places in hosts_of.values():
        for number in range(len(list(made(*reversed(places[0]))))):
            host, what = places[turn % len(places)]
            yield list(made(what, host))[number]
            turn += 1


def made(what: Placed, host: str) -> Iterator[Cell]:
    """Everything that is done to one object."""
    if what.kind is Kind.FILE and what.name.startswith(f"{watch_files.PROJECT}/"):
        return _of_project(what, host)
    return MADE[what.kind](what, host)


def topic(cell: Cell) -> str:
    """What two cells may not touch on one host in one night: the same object, or one that shows in the other."""
    if cell.what.kind is Kind.RULE:
        return host_files.FIREWALL_UNIT
    if cell.what.kind is Kind.PARAMETER:
        return host_files.SYSCTL_FILE
    if cell.what.kind is Kind.USER or cell.what.name.startswith(watch_files.KEY):
        return watch_files.USER
    return cell.what.name.removeprefix(f"{UNITS}/")


def _heals(what: Placed, host: str, how: How, script: str, subject: str = "", **more: object) -> Cell:
    # What configures the gang heals where its generation is the described one, as in these nights.
    drift = Drift.HEAL if what.drift is Drift.GANG else what.drift
    values: dict[str, object] = {"where": "", "drift": drift, "decision": Decision.PUT_BACK, **more}
    return Cell(what, host, how, script=script, subject=subject or f"{re.escape(what.name)}$", **values)  # type: ignore[arg-type]


def _reported(  # noqa: PLR0917 - a row of the table
    what: Placed, host: str, how: How, script: str, subject: str, undo: str, where: str = ""
) -> Cell:
    return Cell(what, host, how, where, script, subject, Drift.REPORT, Decision.REPORT, undo)


def _of_file(what: Placed, host: str) -> Iterator[Cell]:
    path, aside = shlex.quote(what.name), f"{ASIDE}-{PurePosixPath(what.name).name}"
    is_unit = what.name.startswith(f"{UNITS}/")
    # Without these no night runs, or none logs in anywhere: whoever deploys finds that.
    stops = what.name in {f"{UNITS}/{unit}" for unit in watch_files.OWN_UNITS} | NEEDED
    after = f"; {RELOAD}" if is_unit else ""
    subject = f"^{re.escape(what.name)}$"
    gone = Finder.OWNER if stops else Finder.NIGHT
    comment = "echo" if what.name.endswith(".json") else "echo '# by hand'"
    edited = Finder.OWNER if what.name == watch_files.ARCHIVE else Finder.NIGHT
    yield _heals(what, host, How.EDIT, f"{comment} >> {path}", subject, finder=edited)
    yield _heals(what, host, How.REMOVE, f"rm {path}{after}", subject, finder=gone)
    script = f"mv {path} {aside}; ln -s {aside} {path}"
    yield _heals(what, host, How.OVERRIDE, script, subject, where="by a link", finder=edited)
    yield _heals(what, host, How.MASK, f"ln -sf /dev/null {path}{after}", subject, finder=gone)
    if what.name.startswith(f"{PROGRAMS}/") and what.name.endswith(".py"):
        module, directory = PurePosixPath(what.name).stem, PurePosixPath(what.name).parent
        shadow = f"{directory}/{module}.so"
        yield _reported(what, host, How.OVERRIDE, f"touch {shadow}", rf"/{module}\.so$", f"rm {shadow}", "by a library")
        shadow = f"{directory}/{module}"
        script = f"mkdir {shadow}; touch {shadow}/__init__.py"
        package = _reported(what, host, How.OVERRIDE, script, rf"/{module}$", f"rm -r {shadow}", "by a package")
        yield replace(package, finder=gone)


def _of_project(what: Placed, host: str) -> Iterator[Cell]:
    """One file of the reconciler's copy: put back before a night loads anything of it, and told by that night."""
    path, aside = shlex.quote(what.name), f"{ASIDE}-{what.name.replace('/', '-')}"
    program = what.name.endswith(".py")
    yield _heals(what, host, How.EDIT, f"echo '# by hand' >> {path}")
    yield _heals(what, host, How.REMOVE, f"rm {path}")
    yield _heals(what, host, How.MASK, f"ln -sf /dev/null {path}")
    if program:
        library = what.name.removesuffix(".py") + ".so"
        subject = f"^{re.escape(library)}$"
        yield _heals(what, host, How.OVERRIDE, f"touch {library}", subject, where="by a library")
    else:
        script = f"mv {path} {aside}; ln -s {aside} {path}"
        yield _heals(what, host, How.OVERRIDE, script, where="by a link")


def _of_directory(what: Placed, host: str) -> Iterator[Cell]:
    closed = Finder.OWNER if what.name == watch_files.ROOT else Finder.NIGHT
    yield _heals(what, host, How.EDIT, f"chmod 700 {shlex.quote(what.name)}", finder=closed)
    yield _heals(what, host, How.OVERRIDE, f"chown nobody {shlex.quote(what.name)}", where="by another owner")


def _of_unit(what: Placed, host: str) -> Iterator[Cell]:
    unit, text = what.name, f"{UNITS}/{what.name}"
    older = (
        f"cp -p {text} {ASIDE}-{unit}; echo '# older' >> {text}; {RELOAD}; cat {ASIDE}-{unit} > {text}; touch {text}"
    )
    yield _heals(what, host, How.EDIT, older, f"^{re.escape(unit)}$", where="in systemd", alone=True)
    if what.enabled:
        script = f"systemctl disable --quiet {unit}"
        yield _heals(what, host, How.REMOVE, script, f"^{re.escape(unit)}$", where="its link at boot")
    if unit in STOPPABLE:
        yield _heals(what, host, How.REMOVE, f"systemctl stop {unit}", f"^{re.escape(unit)}$", where=STOPPED)
    timer = "[Timer]\\nOnCalendar=\\nOnCalendar=2099-01-01"
    section = timer if what.kind is Kind.TIMER else "[Unit]\\nDocumentation=man:mine"
    for directory in DROP_IN_DIRECTORIES:
        place = f"{directory}/{unit}.d"
        script = f"mkdir -p {place}; printf '{section}\\n' > {place}/mine.conf; {RELOAD}"
        # The supervisor's own drop-ins of this life may lie beside it.
        undo = f"rm {place}/mine.conf; rmdir --ignore-fail-on-non-empty {place}; {RELOAD}"
        yield _reported(what, host, How.OVERRIDE, script, rf"{re.escape(unit)}\.d/mine\.conf$", undo, f"in {directory}")
    stronger = f"/run/systemd/system.control/{unit}"
    script = f"mkdir -p /run/systemd/system.control; ln -s /dev/null {stronger}; {RELOAD}"
    masked = _reported(what, host, How.MASK, script, rf"system\.control/{re.escape(unit)}$", f"rm {stronger}; {RELOAD}")
    yield replace(masked, finder=Finder.OWNER) if unit == watch_files.SERVICE else masked


STOPPABLE = (host_files.SHARE_UNIT, host_files.FIREWALL_UNIT, watch_files.TIMER, gang_files.GANG_UNIT)


def _of_user(what: Placed, host: str) -> Iterator[Cell]:
    user, subject = what.name, f"^{re.escape(what.name)}$"
    yield _heals(what, host, How.EDIT, f"usermod --shell /bin/bash {user}", subject)
    yield _heals(what, host, How.OVERRIDE, f"usermod --append --groups adm {user}", subject, where="by a group")
    yield _heals(what, host, How.REMOVE, f"userdel {user}", subject, finder=Finder.OWNER)


def _of_key(what: Placed, host: str) -> Iterator[Cell]:
    if what.name.startswith("/"):
        # The reconciler's own: without it no night logs in anywhere.
        more: dict[str, object] = {"finder": Finder.OWNER}
        yield _heals(what, host, How.EDIT, f"echo x > {what.name}", **more)
        yield _heals(what, host, How.REMOVE, f"rm {what.name}", **more)
        new = f"{ASIDE}-new"
        another = f"rm {what.name}; ssh-keygen -q -t ed25519 -N '' -f {new}; cp {new} {what.name}; rm {new}*"
        yield _heals(what, host, How.OVERRIDE, another, where="by another key", **more)
        return
    mark, file, subject = "gx10-reconcile@", "/root/.ssh/authorized_keys", "^authorized_keys$"
    yield _heals(what, host, How.EDIT, f"sed -i 's/^from=[^ ]* \\(.*{mark}\\)/\\1/' {file}", subject)
    # A session that is open stays so: the key that has gone is missed by the next login, which is the night's own.
    more = {"finder": Finder.OWNER}
    yield _heals(what, host, How.REMOVE, f"sed -i /{mark}/d {file}", subject, **more)
    doubled = f"sed -n '/{mark}/s/^[^ ]* /restrict,pty /p' {file} > {ASIDE}-line; cat {ASIDE}-line >> {file}"
    yield _heals(what, host, How.OVERRIDE, doubled, subject, where="by a second line")


def _of_rule(what: Placed, host: str) -> Iterator[Cell]:
    subject = f"^{re.escape(host_files.FIREWALL_UNIT)}$"
    shown = shlex.quote(_shown(what.name))
    handle = f"h=$(nft -a list table inet gx10 | grep -F {shown} | sed 's/.*# handle //' | head -1)"
    rule = "inet gx10 input"
    yield _heals(what, host, How.EDIT, f"{handle}; nft replace rule {rule} handle $h tcp dport 1 drop", subject)
    yield _heals(what, host, How.REMOVE, f"{handle}; nft delete rule {rule} handle $h", subject)
    yield _heals(what, host, How.OVERRIDE, f"{handle}; nft insert rule {rule} position $h accept", subject)
    yield _heals(what, host, How.MASK, "nft add table inet gx10 '{ flags dormant; }'", subject)


def _shown(rule: str) -> str:
    """The part of a rule that nft shows as it was written."""
    return re.split(r"[{}]", rule)[0].strip()


def _of_parameter(what: Placed, host: str) -> Iterator[Cell]:
    name, file = what.name, host_files.SYSCTL_FILE
    other = "0" if what.value != "0" else "1"
    yield _heals(what, host, How.EDIT, f"sysctl -qw {name}={other}", f"^{re.escape(name)}$", where="live")
    yield _heals(what, host, How.REMOVE, f"sed -i /{re.escape(name)}/d {file}", re.escape(file), where="the next boot")
    place = f"/etc/sysctl.d/99-{name}.conf"
    script, subject = f"echo {name}={other} > {place}", rf"^{re.escape(name)} at the next boot$"
    yield _reported(what, host, How.OVERRIDE, script, subject, f"rm {place}", "the next boot")


def _of_block(what: Placed, host: str) -> Iterator[Cell]:
    subject = f"^{re.escape(what.name)}$"
    address, name = what.value.splitlines()[-1].split()[:2]
    yield _heals(what, host, How.EDIT, f"sed -i 's/^{re.escape(address)} /192.0.2.9 /' {what.name}", subject)
    yield _heals(what, host, How.REMOVE, f"sed -i '/gx10: begin/,/gx10: end/d' {what.name}", subject)
    before = f"sed -i '1i 192.0.2.1 {name}' {what.name}"
    yield _heals(what, host, How.OVERRIDE, before, subject, where="by a line before it")


def _of_target(what: Placed, host: str) -> Iterator[Cell]:
    link, subject = f"{UNITS}/default.target", r"^default\.target$"
    yield _heals(what, host, How.EDIT, "systemctl set-default --quiet graphical.target", subject)
    yield _heals(what, host, How.REMOVE, f"rm {link}", subject)
    yield _heals(what, host, How.MASK, f"ln -sf /dev/null {link}", subject)
    stronger = "/run/systemd/system.control"
    script = f"mkdir -p {stronger}; ln -sf /usr/lib/systemd/system/graphical.target {stronger}/default.target; {RELOAD}"
    undo = f"rm {stronger}/default.target; {RELOAD}"
    yield _reported(what, host, How.OVERRIDE, script, subject, undo, "in a stronger directory")


def _of_package(what: Placed, host: str) -> Iterator[Cell]:
    # It is not taken away, which a host without a mirror could not put back: dpkg is told that it was.
    status = "/var/lib/dpkg/status"
    gone = f"/^Package: {what.name}$/,/^$/s/^Status: install ok installed/Status: deinstall ok config-files/"
    script = f"cp -p {status} {ASIDE}-status; sed -i '{gone}' {status}"
    undo = f"cp -p {ASIDE}-status {status}"
    yield _heals(what, host, How.REMOVE, script, f"^{re.escape(what.name)}$", undo=undo, finder=Finder.OWNER)


def _of_tree(what: Placed, host: str) -> Iterator[Cell]:
    site = f"{what.name}/lib/python3*/site-packages"
    subject = re.escape(what.name)
    more: dict[str, object] = {"alone": True}
    yield _heals(what, host, How.EDIT, f"echo '# by hand' | tee -a {site}/click/core.py >/dev/null", subject, **more)
    yield _heals(what, host, How.REMOVE, f"rm {site}/pygments/lexers/asm.py", subject, **more)
    more["where"] = "by sitecustomize"
    yield _heals(what, host, How.OVERRIDE, f"touch $(echo {site})/sitecustomize.py", subject, **more)
    more["where"] = "its seal"
    yield _heals(what, host, How.MASK, f"ln -sf /dev/null {what.name}/.gx10-environment.json", subject, **more)


def _of_group(what: Placed, host: str) -> Iterator[Cell]:
    group, _, member = what.name.partition("/")
    yield _heals(what, host, How.REMOVE, f"gpasswd --delete {member} {group}", re.escape(member))


MADE = {
    Kind.FILE: _of_file,
    Kind.DIRECTORY: _of_directory,
    Kind.TREE: _of_tree,
    Kind.UNIT: _of_unit,
    Kind.TIMER: _of_unit,
    Kind.USER: _of_user,
    Kind.KEY: _of_key,
    Kind.GROUP: _of_group,
    Kind.RULE: _of_rule,
    Kind.PARAMETER: _of_parameter,
    Kind.BLOCK: _of_block,
    Kind.TARGET: _of_target,
    Kind.PACKAGE: _of_package,
}

"""What bears on a unit, a kernel parameter or the Docker daemon from outside its own file is told."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gx10.described import watch_files
from gx10.described.description import describe
from gx10.described.host_files import SYSCTL_FILE, SYSCTL_UNIT, daemon_record
from gx10.described.live import UNIT_PATH, live_question
from gx10.described.placed import links, placed, unit_names
from gx10.drift.classes import ACTED_ON, Drift
from gx10.drift.findings import Finding
from gx10.operations import daemon, live, system
from gx10.operations.loop.declared import DECLARED

from .host_side import command_on_path
from .test_probes import ask
from .test_reconcile_probes import live as ask_live

DESCRIBED = describe("lab")
HEAD, WORKER = "gx10-1", "gx10-2"
SHARE, TIMER = "gx10-share.service", watch_files.TIMER


class Looking:
    """An operation that looks at answers that a test gives, and what it found."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: dict[str, Any] = {}
        self.found: list[Finding] = []
        self.function = ""
        for module in (daemon, live, system):
            monkeypatch.setattr(module, "ask", lambda fact, *_, **__: self.answers[fact.probe])
            monkeypatch.setattr(module, "drifted", self.drifted)
            monkeypatch.setattr(module, "host", SimpleNamespace(name=HEAD, noop=lambda _: None))
        monkeypatch.setattr(system, "surveyed_first", lambda fact, **_: self.answers[fact.probe])

    def drifted(self, subject: str, found: object = "", described: object = "", *, drift: Drift | None = None) -> bool:
        kind = drift or DECLARED[self.function].drift
        self.found.append(Finding(subject, str(found), str(described), kind))
        return kind in ACTED_ON

    def look(self, operation: Any, **arguments: Any) -> list[str]:  # noqa: ANN401 - pyinfra's own wrapper
        body = operation._inner.__wrapped__
        self.function = f"{body.__module__.rpartition('.')[2]}.{body.__name__}"
        self.found.clear()
        return [str(command) for command in body(**arguments)]

    @property
    def subjects(self) -> list[str]:
        return [finding.subject for finding in self.found]


@pytest.fixture
def looking(monkeypatch: pytest.MonkeyPatch) -> Looking:
    return Looking(monkeypatch)


# Where systemd reads


@pytest.fixture
def directories(tmp_path: Path) -> Callable[[str], Path]:
    """Stand-ins for the directories that systemd reads, by their paths."""

    def at(path: str) -> Path:
        where = tmp_path / "root" / path.lstrip("/")
        where.parent.mkdir(parents=True, exist_ok=True)
        return where

    return at


def lying(tmp_path: Path, unit: str = SHARE) -> list[str]:
    asked = {"units": [unit], "unit_path": [f"{tmp_path}/root{path}" for path in UNIT_PATH]}
    said = f"print('Id={unit}')"
    told: dict[str, list[str]] = ask_live(tmp_path, asked, {"systemctl": said, "dpkg-query": ""})["beside"]
    return [path.removeprefix(f"{tmp_path}/root") for path in told.get(unit, [])]


def test_every_directory_that_systemd_itself_names_is_looked_into() -> None:
    done = subprocess.run(["systemd-analyze", "unit-paths"], capture_output=True, text=True, timeout=60, check=True)
    named = {
        line.replace("/lib/", "/usr/lib/", 1) if line.startswith("/lib/") else line for line in done.stdout.split()
    }
    assert "/etc/systemd/system" in named
    assert named - {"/usr/local/lib/systemd/system"} <= set(UNIT_PATH)


@pytest.mark.parametrize(
    "name",
    [
        f"{SHARE}.d/mine.conf", "gx10-.service.d/mine.conf", "service.d/mine.conf",
        f"{SHARE}.wants/mine.service", f"multi-user.target.requires/{SHARE}",
    ],
)  # fmt: skip
def test_whatever_bears_on_a_unit_is_told_in_every_directory(
    tmp_path: Path, directories: Callable[[str], Path], name: str
) -> None:
    for directory in UNIT_PATH:
        directories(f"{directory}/{name}").touch()
    assert lying(tmp_path) == [f"{directory}/{name}" for directory in UNIT_PATH]


def test_what_bears_on_other_units_is_not_told(tmp_path: Path, directories: Callable[[str], Path]) -> None:
    for name in ("ray-.service.d/a.conf", "timer.d/a.conf", f"{SHARE}.d/read.me", "other.service.d/a.conf"):
        directories(f"/etc/systemd/system/{name}").touch()
    assert lying(tmp_path) == []


def test_texts_of_a_units_name_and_masks_are_told_wherever_they_lie(
    tmp_path: Path, directories: Callable[[str], Path]
) -> None:
    directories(f"/run/systemd/transient/{SHARE}").touch()
    directories(f"/run/systemd/system/{SHARE}").symlink_to("/dev/null")
    assert lying(tmp_path) == [f"/run/systemd/transient/{SHARE}", f"/run/systemd/system/{SHARE}"]


def answer(**changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """What the live probe answers of a host on which nothing was added."""
    told = {
        "extra": {}, "others": {}, "packaged": [], "fragments": {}, "beside": {}, "drop_ins": {}, "timers": {},
        "daemon": {}, "record": None,
    }  # fmt: skip
    return {**told, **changes}


def known(host: str) -> set[str]:
    objects = placed(DESCRIBED, host)
    return {entry.name for entry in objects} | {*links(objects)}


def added(looking: Looking, **changes: Any) -> list[str]:  # noqa: ANN401
    looking.answers = {"live": answer(**changes), "filters": {"stops": changes.get("stops", [])}}
    looking.look(live.nothing_added, live=live_question(DESCRIBED, HEAD), filters={}, known=known(HEAD))
    assert {finding.drift for finding in looking.found} <= {Drift.REPORT}
    return looking.subjects


def test_own_texts_and_links_are_nobodys_addition_and_others_are_told_once(looking: Looking) -> None:
    units = unit_names(DESCRIBED, HEAD)
    own = {unit: [f"/etc/systemd/system/{unit}"] for unit in units}
    own[SHARE].append(f"/etc/systemd/system/multi-user.target.wants/{SHARE}")
    own[TIMER].append(f"/etc/systemd/system/timers.target.wants/{TIMER}")
    held = {unit: {"path": f"/etc/systemd/system/{unit}", "load": "loaded"} for unit in units}
    assert added(looking, beside=own, fragments=held) == []
    strange = f"/run/systemd/system.control/{SHARE}"
    drop_in = "/run/systemd/system/service.d/mine.conf"
    changes = {
        "beside": {**own, SHARE: [*own[SHARE], strange, drop_in]},
        "fragments": {**held, SHARE: {"path": strange, "load": "loaded"}},
        "drop_ins": {name: [drop_in] for name in units},
    }
    assert sorted(added(looking, **changes)) == sorted([strange, drop_in])
    gone = {**held, SHARE: {"path": "/run/systemd/transient/gone.service", "load": "loaded"}}
    assert added(looking, beside=own, fragments=gone) == ["/run/systemd/transient/gone.service"]


def test_drop_ins_of_the_distributions_packages_are_not_told(looking: Looking) -> None:
    vendor = "/usr/lib/systemd/system/service.d/10-timeout.conf"
    assert added(looking, beside={SHARE: [vendor]}, drop_ins={SHARE: [vendor]}, packaged=[vendor]) == []
    assert added(looking, beside={SHARE: [vendor]}) == [vendor]


def test_of_a_directory_that_somebody_added_only_the_directory_is_told(looking: Looking) -> None:
    root = "/usr/local/lib/gx10_host"
    lies = [f"{root}/__pycache__", f"{root}/__pycache__/a.pyc", f"{root}/__pycache__x", f"{root}/content/manifest.py"]
    assert added(looking, extra={root: lies}) == [f"{root}/__pycache__", f"{root}/__pycache__x"]


def test_byte_code_of_an_earlier_release_goes_with_a_deploy_and_is_told_by_a_night(
    looking: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = "/usr/local/lib/gx10"
    looking.answers = {"live": answer(extra={root: [f"{root}/__pycache__", f"{root}/mine.py"]})}
    arguments = {"live": {}, "directory": root}
    assert looking.look(live.earlier_byte_code_removed, **arguments) == [f"rm -rf -- {root}/__pycache__"]
    monkeypatch.setattr(live, "run_directory", lambda: Path("/night"))
    assert looking.look(live.earlier_byte_code_removed, **arguments) == []
    assert added(looking, extra={root: [f"{root}/__pycache__"]}) == [f"{root}/__pycache__"]


def test_a_rule_that_stops_what_the_gang_needs_is_told_with_its_table_and_chain(looking: Looking) -> None:
    stop = {
        "table": "inet mine", "chain": "in", "rule": "tcp dport 6379-6390 drop", "does": "drops",
        "ports": [6379, 6380, 6381, 6382, 6383], "interfaces": ["fabric0"],
    }  # fmt: skip
    assert added(looking, stops=[stop]) == ["inet mine, chain in: tcp dport 6379-6390 drop"]
    assert looking.found[0].found == "drops tcp 6379, 6380, 6381, 6382, … on fabric0"


# Links that start units at boot


@pytest.mark.parametrize(
    ("link", "astray"),
    [(None, True), ("/dev/null", True), ("/root/gx10-share.service", True), ("OWN", False), ("../" + SHARE, False)],
)
def test_a_link_that_is_absent_or_leads_elsewhere_is_told(tmp_path: Path, link: str | None, astray: bool) -> None:
    (tmp_path / SHARE).write_text("[Install]\nWantedBy=multi-user.target\n")
    wants = tmp_path / "multi-user.target.wants"
    wants.mkdir()
    if link:
        (wants / SHARE).symlink_to(str(tmp_path / SHARE) if link == "OWN" else link)
    said = f"import sys; print('multi-user.target' if 'get-default' in sys.argv else 'Id={SHARE}')"
    env = command_on_path(tmp_path / "bin", "systemctl", said)
    told: Any = ask("system", {"units": [SHARE], "unit_directory": str(tmp_path)}, env)
    assert told["units"][SHARE]["Astray"] == ([str(wants / SHARE)] if astray else [])


def unit(**changes: Any) -> dict[str, Any]:  # noqa: ANN401
    text = f"/etc/systemd/system/{SHARE}"
    return {"UnitFileState": "enabled", "ActiveState": "active", "FragmentPath": text, "Astray": [], **changes}


def test_a_unit_whose_link_leads_elsewhere_is_enabled_anew(looking: Looking) -> None:
    looking.answers = {"system": {"units": {SHARE: unit()}}}
    assert looking.look(system.units_enabled, units=[SHARE]) == []
    looking.answers = {"system": {"units": {SHARE: unit(Astray=["/etc/x"])}}}
    assert looking.look(system.units_enabled, units=[SHARE]) == [
        "rm -rf -- /etc/x", f"systemctl enable --quiet -- {SHARE}",
    ]  # fmt: skip
    assert (looking.subjects, looking.found[0].drift) == ([SHARE], Drift.HEAL)


@pytest.mark.parametrize("fragment", [f"/run/systemd/system.control/{SHARE}", f"/run/systemd/transient/{SHARE}"])
def test_a_unit_that_systemd_holds_from_somebodys_file_is_left_to_its_owner(looking: Looking, fragment: str) -> None:
    state = unit(UnitFileState="masked", ActiveState="inactive", FragmentPath=fragment)
    looking.answers = {"system": {"units": {SHARE: state}}, "files": {f"/run/gx10/{SHARE}": None}, "live": answer()}
    assert looking.look(system.units_enabled, units=[SHARE]) == []
    assert looking.look(system.services_current, services={SHARE: "d"}, live={}, firewall="f", login=[]) == []
    assert looking.found == []


# Timers


def timer(**changes: Any) -> dict[str, Any]:  # noqa: ANN401
    spelled = "*-01-01 02:30:00 UTC"
    told = {"calendars": [spelled], "described": spelled, "monotonic": [], "active": "active", "sub": "waiting"}
    return {**told, **changes}


@pytest.mark.parametrize(
    ("changes", "late"),
    [
        ({}, False),
        ({"calendars": ["2099-01-01 00:00:00"]}, True),
        ({"calendars": []}, True),
        ({"monotonic": ["{ OnBootUSec=1h ; next_elapse=n/a }"]}, True),
        ({"sub": "elapsed"}, True),
        ({"sub": "running"}, False),
        ({"calendars": [], "active": "inactive"}, False),
    ],
)
def test_a_timer_that_elapses_otherwise_than_its_file_says_is_taken_up_anew(
    looking: Looking, changes: dict[str, Any], late: bool
) -> None:
    looking.answers = {"system": {"units": {TIMER: unit()}}, "live": answer(timers={TIMER: timer(**changes)})}
    commands = looking.look(system.units_enabled, units=[TIMER], live={})
    assert commands == ([f"systemctl daemon-reload && systemctl restart -- {TIMER}"] if late else [])
    looking.answers["live"]["drop_ins"] = {TIMER: ["/etc/mine.conf"]}
    assert looking.look(system.units_enabled, units=[TIMER], live={}) == [], "the drop-in is told"


def test_the_calendar_in_force_is_told_in_the_spelling_of_the_described_one(tmp_path: Path) -> None:
    said = (
        f"Id={TIMER}\\nActiveState=active\\nSubState=waiting\\n"
        "TimersCalendar={ OnCalendar=*-01-01 02:30:00 UTC ; next_elapse=Fri 2027-01-01 02:30:00 UTC }"
    )
    asked = {"calendars": {TIMER: live_question(DESCRIBED, HEAD)["calendars"][TIMER]}}
    told = ask_live(tmp_path, asked, {"systemctl": f"print('{said}')"})["timers"][TIMER]
    assert told["calendars"] == [told["described"]]
    assert (told["active"], told["sub"]) == ("active", "waiting")
    assert live_question(DESCRIBED, WORKER)["calendars"] == {}


# Kernel parameters at the next boot

OURS = "net.ipv4.tcp_mtu_probing"


def at_boot(tmp_path: Path, *files: tuple[str, str], name: str = OURS) -> Any:  # noqa: ANN401
    text = "\n\n".join(f"# {file}\n{lines}" for file, lines in [(SYSCTL_FILE, f"{OURS} = 1"), *files])
    env = command_on_path(tmp_path, "systemctl", "print('multi-user.target')")
    command_on_path(tmp_path, "sysctl", f"print({text!r})")
    told: Any = ask("system", {"sysctls": [name], "systemd_sysctl": str(tmp_path / "sysctl")}, env)
    return told["at_boot"][name]


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        ("net.ipv4.tcp_mtu_probing=0", "0"),
        ("net/ipv4/tcp_mtu_probing = 0", "0"),
        ("-net.ipv4.tcp_mtu_probing = 2", "2"),
        ("-net.ipv4.tcp_mtu_probing", None),
        ("# net.ipv4.tcp_mtu_probing = 0", "1"),
        ("; net.ipv4.tcp_mtu_probing = 0", "1"),
        ("net.ipv4.* = 0", "1"),
        ("net.ipv4.tcp_mtu_probing", "1"),
        ("net.ipv4.conf.all.tcp_mtu_probing = 0", "1"),
    ],
)
def test_the_last_file_decides_what_a_parameter_becomes(tmp_path: Path, lines: str, value: str | None) -> None:
    told = at_boot(tmp_path, ("/etc/sysctl.d/99-mine.conf", lines))
    file = SYSCTL_FILE if value == "1" else "/etc/sysctl.d/99-mine.conf"
    assert told == {"value": value, "file": file}


def test_a_pattern_sets_what_no_file_writes_out(tmp_path: Path) -> None:
    file, name = "/etc/sysctl.d/99-mine.conf", "net.ipv4.conf.all.rp_filter"
    assert at_boot(tmp_path, name=name) is None
    assert at_boot(tmp_path, (file, "net.ipv4.conf.*.rp_filter = 2"), name=name) == {"value": "2", "file": file}
    assert at_boot(tmp_path, (file, "net.ipv4.*.rp_filter = 2"), name=name) is None, "a star is one level"
    both = (file, f"{name} = 1\nnet.ipv4.conf.*.rp_filter = 2")
    assert at_boot(tmp_path, both, name=name)["value"] == "1"


def test_a_comment_of_a_path_does_not_make_a_value_the_described_one(tmp_path: Path) -> None:
    told = at_boot(tmp_path, ("/etc/sysctl.d/99-mine.conf", f"# {SYSCTL_FILE}\n{OURS} = 0"))
    assert told["value"] == "0"


def test_another_value_at_boot_is_told_with_its_file_and_not_changed(looking: Looking) -> None:
    last = {"value": "0", "file": "/etc/sysctl.d/99-mine.conf"}
    setter = {"units": {SYSCTL_UNIT: {"LoadState": "loaded"}}}
    looking.answers = {"system": {"sysctls": {OURS: "1"}, "at_boot": {OURS: last}, **setter}}
    assert looking.look(system.sysctls_live, sysctls={OURS: 1}, file=SYSCTL_FILE) == []
    (finding,) = looking.found
    assert (finding.subject, finding.drift) == (f"{OURS} at the next boot", Drift.REPORT)
    assert finding.found == "0 by /etc/sysctl.d/99-mine.conf"
    looking.answers["system"]["at_boot"] = {OURS: {"value": "1", "file": "/etc/sysctl.d/99-mine.conf"}}
    looking.look(system.sysctls_live, sysctls={OURS: 1}, file=SYSCTL_FILE)
    assert looking.found == []
    setter["units"][SYSCTL_UNIT]["LoadState"] = "masked"
    looking.look(system.sysctls_live, sysctls={OURS: 1}, file=SYSCTL_FILE)
    assert looking.subjects == [SYSCTL_UNIT]


def test_what_systemd_sysctl_itself_prints_is_read(tmp_path: Path) -> None:
    program = "/usr/lib/systemd/systemd-sysctl"
    printed = subprocess.run([program, "--cat-config"], capture_output=True, text=True, timeout=60, check=True).stdout
    name, _, value = [line for line in printed.splitlines() if "=" in line and line[0] not in "#;-"][-1].partition("=")
    env = command_on_path(tmp_path, "systemctl", "print('multi-user.target')")
    told: Any = ask("system", {"sysctls": [name.strip()]}, env)
    last = told["at_boot"][name.strip()]
    assert last["value"] == " ".join(value.split())
    assert name.strip() in Path(last["file"]).read_text()


# The Docker daemon


def configured(tmp_path: Path, text: str, argv: str = "/usr/sbin/dockerd -H fd://") -> dict[str, str]:
    (tmp_path / "daemon.json").write_text(text)
    said = f"Id=docker.service\\nExecStart={{ path=/usr/sbin/dockerd ; argv[]={argv} ; ignore_errors=no ; pid=7 }}"
    asked = {"daemon": "docker.service", "daemon_files": [str(tmp_path / "daemon.json")]}
    told: dict[str, str] = ask_live(tmp_path, asked, {"systemctl": f"print('{said}')"})["daemon"]
    return {name.rpartition("daemon.json: ")[2]: value for name, value in told.items()}


def test_a_daemons_configuration_is_told_by_key_in_whatever_order_and_without_contents(tmp_path: Path) -> None:
    first = configured(tmp_path, '{"debug": true, "proxies": {"a": 1, "b": "secret"}}')
    assert first == configured(tmp_path, '{"proxies":{"b":"secret","a":1},\n"debug":true}')
    assert "secret" not in json.dumps(first)
    other = configured(tmp_path, '{"debug": true, "proxies": {"a": 2, "b": "secret"}}')
    assert {name for name in first if first[name] != other[name]} == {"proxies"}
    assert configured(tmp_path, "{}") == {"command": "/usr/sbin/dockerd -H fd://"}
    assert "no JSON object" in str(configured(tmp_path, "{"))


SERVED = {"version": "26.1.5", "command": "/usr/sbin/dockerd"}


class Host:
    """A host whose daemon and record a test sets."""

    def __init__(self, looking: Looking) -> None:
        self.looking, self.path = looking, daemon_record(DESCRIBED.cluster)
        self.text: str | None = None
        self.now = dict(SERVED)

    def look(self, operation: Any, **arguments: Any) -> list[str]:  # noqa: ANN401
        record = json.loads(self.text) if self.text else None
        version = {"docker": {"daemon": {"version": self.now["version"]}}}
        rest = {name: value for name, value in self.now.items() if name != "version"}
        from hashlib import sha256  # noqa: PLC0415

        state = {"kind": "file", "mode": "644", "user": "root", "group": "root"}
        found = None if self.text is None else {**state, "sha256": sha256(self.text.encode()).hexdigest()}
        self.looking.answers = {
            "host": version, "live": answer(daemon=rest, record=record), "files": {self.path: found},
        }  # fmt: skip
        return self.looking.look(operation, live={}, **arguments)

    def deploy(self, monkeypatch: pytest.MonkeyPatch) -> bool:
        """Whether the record was written."""
        wrote: list[Any] = []
        monkeypatch.setattr(daemon, "put_command", lambda entries: wrote.extend(entries) or "put")
        self.look(daemon.daemon_recorded, path=self.path)
        if wrote:
            self.text = wrote[0].content.decode()
        return bool(wrote)

    def told(self) -> list[str]:
        self.look(daemon.daemon_as_it_served)
        return self.looking.subjects


def test_a_daemon_that_changed_is_told_until_a_deploy_has_seen_it_serve(
    looking: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(looking)
    night = pytest.MonkeyPatch()
    try:
        assert host.told() == [], "a host that was never recorded tells nothing"
        assert host.deploy(monkeypatch)
        assert (host.told(), host.deploy(monkeypatch)) == ([], False)
        host.now["version"], host.now["drop-in /etc/x.conf"] = "29.0.0", "abc"
        night.setattr(daemon, "run_directory", lambda: Path("/night"))
        for _ in range(3):
            assert host.told() == ["Docker daemon, drop-in /etc/x.conf", "Docker daemon, version"]
            assert not host.deploy(monkeypatch), "a night does not make it what was meant"
        night.undo()
        assert host.deploy(monkeypatch), "a deploy does, once the engine has answered"
        assert (host.told(), host.deploy(monkeypatch)) == ([], False)
    finally:
        night.undo()


@pytest.mark.parametrize("text", [None, "{}", '{"daemon": {"version": "1"}, "digest": "0"}'])
def test_a_record_that_is_gone_or_forged_is_written_anew_also_by_a_night(
    looking: Looking, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    host = Host(looking)
    monkeypatch.setattr(daemon, "run_directory", lambda: Path("/night"))
    host.text = text
    assert host.told() == []
    assert host.deploy(monkeypatch)
    assert looking.subjects == [host.path]

"""The reconciler's key in authorized_keys: one line by its key, former ones go, an owner's lines stay byte for byte."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gx10.described.authorized import described_line, key_of, settled
from gx10.described.description import describe
from gx10.described.watch_files import watch_question
from gx10.operations import watch
from gx10.probes import probe_words, writer_words

from .host_side import Code, elsewhere

ME = pwd.getpwuid(os.getuid()).pw_name
KEY = "ssh-ed25519 AAAAnew gx10-reconcile@lab"
LINE = described_line(KEY, ["10.0.0.1"], "gx10-reconcile@lab")
OWNERS = [
    "ssh-rsa BBBB ada@desk",
    "",
    "# gx10-reconcile@lab is the nightly one",
    'command="echo ssh-ed25519 AAAAnew gx10-reconcile@lab",no-pty ssh-ed25519 CCCC bob',
    "ssh-ed25519 DDDD not gx10-reconcile@lab",
]


@pytest.mark.parametrize(
    ("line", "material", "comment"),
    [
        ("ssh-ed25519 AAAA ada", "ssh-ed25519 AAAA", "ada"),
        ("ssh-rsa AAAA==", "ssh-rsa AAAA==", ""),
        ('from="10.0.0.1",restrict ssh-ed25519 AAAA gx10-reconcile@lab', "ssh-ed25519 AAAA", "gx10-reconcile@lab"),
        (OWNERS[3], "ssh-ed25519 CCCC", "bob"),
        ('environment="A=\\"ssh-rsa X\\"" ecdsa-sha2-nistp256 AAAA a b', "ecdsa-sha2-nistp256 AAAA", "a b"),
        ("sk-ssh-ed25519@openssh.com AAAA x\r", "sk-ssh-ed25519@openssh.com AAAA", "x"),
    ],
)
def test_a_line_is_read_behind_its_options(line: str, material: str, comment: str) -> None:
    key = key_of(line)
    assert key
    assert (key.material, key.comment) == (material, comment)


@pytest.mark.parametrize("line", ["", "# ssh-ed25519 AAAA x", "  # x", "nonsense", "ssh-ed25519"])
def test_what_is_no_key_is_none(line: str) -> None:
    assert key_of(line) is None


def test_the_described_line_alone_is_in_sync() -> None:
    assert settled([*OWNERS, LINE], LINE).findings == ()


@pytest.mark.parametrize(
    "other",
    [
        "ssh-ed25519 AAAAnew gx10-reconcile@other",
        "ssh-ed25519 AAAAnew ada",
        "ssh-ed25519 AAAAnew",
        LINE.replace("10.0.0.1", "10.0.0.2"),
        f"{LINE}\r",
        LINE.replace("restrict ", "restrict,pty "),
    ],
)
def test_another_line_of_the_same_key_is_replaced_whatever_it_is_called(other: str) -> None:
    change = settled([OWNERS[0], other], LINE)
    assert (change.removed, change.added) == ((other,), LINE)
    assert settled([OWNERS[0], other, LINE], LINE).removed == (other,)
    assert settled([OWNERS[0], other, LINE], LINE).added is None


def test_a_former_reconcilers_key_goes_and_is_named() -> None:
    former = 'from="10.0.0.9",restrict ssh-ed25519 AAAAold gx10-reconcile@before'
    change = settled([*OWNERS, former, LINE], LINE)
    assert (change.removed, change.added) == ((former,), None)
    assert change.findings == (("a key of gx10-reconcile@before, which is not described", "absent"),)
    assert settled([*OWNERS, former, LINE], None).removed == (former, LINE)


def test_a_line_that_stands_twice_becomes_one() -> None:
    change = settled([LINE, OWNERS[0], LINE], LINE)
    assert (change.removed, change.added, bool(change.findings)) == ((LINE,), LINE, True)


def at_home(home: Path, words: list[str]) -> list[str]:
    """A command for a host, run here, where every user lives in a home that a test names."""
    user = {"pw_dir": str(home), "pw_uid": os.getuid(), "pw_gid": os.getgid(), "pw_shell": "/bin/sh"}
    found = Code(f"lambda _: __import__('types').SimpleNamespace(**{user!r})")
    return [sys.executable, *elsewhere(words, "pwd", getpwnam=found)]


def put(home: Path, **told: Any) -> bytes:  # noqa: ANN401 - JSON
    """Run the writer on a home; returns what stands there."""
    words = at_home(home, writer_words("key"))
    subprocess.run(words, input=json.dumps({"login": ME, **told}), text=True, check=True, timeout=60)
    return (home / ".ssh/authorized_keys").read_bytes()


def lines_of(home: Path) -> list[str]:
    """What the probe tells of a home."""
    asked: dict[str, object] = {"user": ME, "key": str(home / "key"), "environment": "", "project": "", "login": ME}
    words = at_home(home, probe_words("watch", asked))
    lines: list[str] = json.loads(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout)["authorized"]
    return lines


@pytest.mark.parametrize("end", ["\n", "", "\n\n"])
def test_lines_of_others_stay_byte_for_byte(tmp_path: Path, end: str) -> None:
    (tmp_path / ".ssh").mkdir()
    keys = tmp_path / ".ssh/authorized_keys"
    before = b"\xff odd\r\n" + "\n".join(OWNERS).encode() + end.encode()
    keys.write_bytes(before)
    keys.chmod(0o640)
    change = settled(lines_of(tmp_path), LINE)
    after = put(tmp_path, remove=change.removed, add=change.added)
    assert after == before + (b"" if end else b"\n") + LINE.encode() + b"\n"
    assert keys.stat().st_mode & 0o777 == 0o640
    assert settled(lines_of(tmp_path), LINE).findings == ()
    assert put(tmp_path, remove=[LINE], add=None) == before + (b"" if end else b"\n")


class RefusedError(Exception):
    """An operation refused, with a sentence."""


class World:
    """Two hosts whose authorized_keys an operation changes, run after run."""

    def __init__(self, keys: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.keys, self.key = list(keys), KEY
        self.host: Any = SimpleNamespace(
            name="gx10-2", noop=lambda _: None, state=SimpleNamespace(is_executing=True), print_prefix=""
        )
        self.found: list[tuple[str, str]] = []
        monkeypatch.setattr(watch, "ask", self.ask)
        monkeypatch.setattr(watch, "host", self.host)
        monkeypatch.setattr(watch, "drifted", lambda _, found, described: self.found.append((found, described)) or True)
        monkeypatch.setattr(watch, "refuse", self.refuse)

    @staticmethod
    def refuse(*sentences: str) -> Any:  # noqa: ANN401 - it never returns
        raise RefusedError(*sentences)

    def ask(self, _: object, on: str | None = None, **__: object) -> dict[str, Any]:
        return {"key": self.key if on else None, "authorized": self.keys}

    def deploy(self, name: str = "lab", node: str | None = "gx10-1") -> list[str]:
        """Run the operation as a cluster of a name; returns what it noted."""
        self.found = []
        told = {**watch_question(describe("lab"), "gx10-2"), "comment": f"gx10-reconcile@{name}"}
        body: Any = watch.key_authorized
        for command in body._inner.__wrapped__(watch=told, node=node, origin=["10.0.0.1"]):
            asked = json.loads(command.connector_arguments["_stdin"])
            self.keys = [line for line in self.keys if line not in asked["remove"]]
            self.keys += [asked["add"]] if asked["add"] else []
        return [found for found, _ in self.found]


def test_another_name_of_the_cluster_converges_after_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World([OWNERS[0], LINE], monkeypatch)
    assert world.deploy() == []
    for name in ("renamed", "lab"):
        assert len(world.deploy(name)) == 1
        assert world.deploy(name) == []
        assert world.keys == [OWNERS[0], LINE.replace("@lab", f"@{name}")]


def test_without_a_reconciler_no_key_of_one_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World([OWNERS[0], LINE], monkeypatch)
    assert world.deploy(node=None) == ["a key of gx10-reconcile@lab, which is not described"]
    assert world.keys == [OWNERS[0]]
    assert world.deploy(node=None) == []


def test_a_public_key_file_with_a_second_line_lets_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World([OWNERS[0]], monkeypatch)
    world.key = f"{KEY}\nssh-ed25519 EEEE intruder"
    with pytest.raises(RefusedError, match="no single public key"):
        world.deploy()
    assert world.keys == [OWNERS[0]]

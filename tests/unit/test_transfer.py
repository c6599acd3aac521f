"""Bulk between control node and host, by the real programs through real ssh: whole or absent, resumed, never twice."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from gx10_host.content.manifest import MANIFEST, digest_of_manifest, read_manifest

from gx10.described.description import Description, describe
from gx10.described.host_files import SHARE_PORT
from gx10.described.image_inputs import archive_name
from gx10.transfer import offer, through_ssh
from gx10.transfer.control_archive import ControlArchive
from gx10.transfer.control_weights import send_weights
from gx10.transfer.through_ssh import Remote, TransferError

from .fake_docker import FakeDocker
from .host_side import SECONDS, answers, run, wait_until, words
from .relayed_share import serving
from .ssh_server import Server, reachable

MB = 1_000_000
HEAD = "gx10-1"


class Moved:
    """What a transfer said, and how many megabytes it came to."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, line: str) -> None:
        self.lines.append(line)

    @property
    def megabytes(self) -> int:
        found = re.search(r"(\d+) MB in [\d.]+ s", self.lines[-1])
        return int(found[1]) if found else 0


def held(directory: Path) -> dict[str, bytes]:
    """Every file by its name but for what stands beside content."""
    paths = [path for path in directory.rglob("*") if path.is_file() and not path.name.startswith(".gx10")]
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


def named(directory: Path) -> dict[str, bytes]:
    """Every file that has its final name."""
    return {name: content for name, content in held(directory).items() if not name.endswith(".partial")}


def partial_bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*.partial"))


def cut_after(server: Server, count: int, directory: Path) -> threading.Thread:
    """Cut every connection to the host as soon as so much has arrived in a directory."""

    def wait() -> None:
        assert wait_until(lambda: partial_bytes(directory) > count)
        server.cut()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fetches on this node gives up at once."""
    monkeypatch.setattr(through_ssh, "HERE", tuple(words("", settings={"content.stream.ATTEMPTS": 1})[:-1]))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Server]:
    """A host that is this machine, whose share stands behind the head's fabric address."""
    (tmp_path / "ssh").mkdir()
    (tmp_path / "head").mkdir()
    head = describe("lab").cluster.hosts[HEAD]
    with serving(tmp_path / "head", "archive") as port:
        share = (str(head.fabric[0]), SHARE_PORT)
        with reachable(tmp_path / "ssh", {share: ("127.0.0.1", port)}) as server:
            (tmp_path / "ssh/config").write_text(
                f"Host {head.management}\n  HostName 127.0.0.1\n  Port {server.port}\n"
                f"  IdentityFile {tmp_path}/ssh/key\n  UserKnownHostsFile {tmp_path}/ssh/known_hosts\n"
            )
            yield server


@pytest.fixture
def description(tmp_path: Path) -> Description:
    """The lab, whose head is that host and keeps its archive in `head`."""
    own = describe("lab")
    cluster = own.cluster.model_copy(
        update={
            "access": own.cluster.access.model_copy(update={"ssh_config": tmp_path / "ssh/config"}),
            "paths": own.cluster.paths.model_copy(update={"archive": tmp_path / "head"}),
        }
    )
    return replace(own, checked=replace(own.checked, loaded=replace(own.loaded, cluster=cluster)))


# Weights from the control node, through `ssh -R`.


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with weights."""
    for name, count in (("a/shard-1", 12 * MB), ("shard-2", 3 * MB), ("-odd name", 1)):
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(count).randbytes(count))  # noqa: S311 - content, not a secret
    return tmp_path / "source"


def sent(source: Path, target: Path, tmp_path: Path) -> Moved:
    moved, ssh = Moved(), ["ssh", "-F", str(tmp_path / "ssh/config"), "-o", "BatchMode=yes", "10.77.0.11"]
    send_weights(source, "mine", Remote(HEAD, ssh), str(target), kept=tmp_path / "kept/mine.json", tell=moved)
    return moved


@pytest.mark.usefixtures("host")
def test_a_directory_arrives_as_it_is_and_is_not_sent_again(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "models/mine"
    assert sent(source, target, tmp_path).megabytes == 15
    assert held(target) == held(source)
    assert "nothing moved" in sent(source, target, tmp_path).lines[-1]
    (target / "shard-2").write_bytes(b"damaged")
    assert sent(source, target, tmp_path).megabytes == 3
    assert held(target) == held(source)


def test_a_connection_that_is_lost_leaves_no_wrong_file_and_costs_no_byte(
    host: Server, source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "models/mine"
    cutting = cut_after(host, 2 * MB, target)
    with pytest.raises(TransferError, match=r"gx10-1: unreachable: .*The next run resumes\."):
        sent(source, target, tmp_path)
    cutting.join()
    assert not (target / MANIFEST).exists()
    assert named(target).items() <= held(source).items()
    arrived = partial_bytes(target)
    assert sent(source, target, tmp_path).megabytes <= 15 - arrived // MB + 1
    assert held(target) == held(source)


def test_a_host_that_forwards_nothing_is_told_with_what_to_do(
    host: Server, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.unit.ssh_server.Everybody.check_port_forward_request", lambda *_: 0)
    with pytest.raises(TransferError, match=r"gx10-1: .*AllowTcpForwarding"):
        sent(source, tmp_path / "models/mine", tmp_path)


def test_a_source_that_is_not_there_is_told_as_this_nodes(host: Server, tmp_path: Path) -> None:
    with pytest.raises(TransferError, match=r"control node: .*absent does not exist on this host"):
        sent(tmp_path / "absent", tmp_path / "models/mine", tmp_path)


def test_what_is_offered_is_offered_on_loopback_for_as_long_as_somebody_waits(source: Path) -> None:
    command = [sys.executable, "-m", offer.__name__, str(source)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as offered:
        assert offered.stdout
        assert offered.stdin
        try:
            port = int(offered.stdout.readline())
            assert answers(port)
            listening = Path("/proc/net/tcp").read_text()
            assert f"0100007F:{port:04X} 00000000:0000 0A" in listening
            assert f"00000000:{port:04X} 00000000:0000 0A" not in listening
            offered.stdin.close()
            assert offered.wait(timeout=SECONDS) == 0
        finally:
            offered.kill()


# The image archive, back and forth.


@pytest.fixture
def archive(tmp_path: Path, description: Description) -> ControlArchive:
    """The control node's archive of an image that the head has archived: of 10 MB, in two layers."""
    docker, reference = FakeDocker(tmp_path / "docker"), description.image_reference
    docker.add(reference, [random.Random(seed).randbytes(5 * MB) for seed in (1, 2)])  # noqa: S311
    save = ("save", reference, "--archive", tmp_path / "head", "--image", archive_name(reference))
    done = run("archive", *save, env=docker.env)
    assert done.returncode == 0, done.stderr
    return ControlArchive(description, tmp_path / "control")


def whole(directory: Path) -> bool:
    return run("archive", "verify", "--archive", directory).returncode == 0


def layers(directory: Path) -> list[Path]:
    """Stored files, the largest first."""
    return sorted((directory / "blobs/sha256").iterdir(), key=lambda path: -path.stat().st_size)


@pytest.mark.usefixtures("host")
def test_the_heads_archive_is_kept_here_and_restored_from_here(archive: ControlArchive, tmp_path: Path) -> None:
    reference, head = archive.description.image_reference, tmp_path / "head"
    kept_as = f"images/{archive_name(reference)}"
    assert archive.manifest(reference) is None
    moved = Moved()
    archive.fetch(reference, moved)
    assert moved.megabytes == 10
    kept, theirs = archive.manifest(reference), read_manifest(head / kept_as)
    assert kept is not None
    assert theirs is not None
    assert digest_of_manifest(kept) == digest_of_manifest(theirs)
    assert whole(archive.directory)
    again = Moved()
    archive.fetch(reference, again)
    assert "nothing moved" in again.lines[-1]
    for path in head.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    archive.send(reference, Moved())
    assert read_manifest(head / kept_as) == kept
    assert whole(head)
    archive.send(reference, again)
    assert "nothing moved" in again.lines[-1]


@pytest.mark.usefixtures("host")
def test_what_the_head_has_damaged_gets_no_name_here(archive: ControlArchive, tmp_path: Path) -> None:
    reference, victim = archive.description.image_reference, layers(tmp_path / "head")[0]
    content = victim.read_bytes()
    victim.write_bytes(content[:100] + b"!" + content[101:])
    with pytest.raises(TransferError, match=f"control node: .*{victim.name} arrived with sha256"):
        archive.fetch(reference, Moved())
    assert archive.manifest(reference) is None
    assert victim.name not in [path.name for path in layers(archive.directory)]
    victim.write_bytes(content)
    moved = Moved()
    archive.fetch(reference, moved)
    assert moved.megabytes == round(len(content) / MB)
    assert whole(archive.directory)


@pytest.mark.usefixtures("host")
def test_what_is_damaged_here_is_fetched_anew(archive: ControlArchive) -> None:
    reference = archive.description.image_reference
    archive.fetch(reference, Moved())
    victim = layers(archive.directory)[0]
    victim.write_bytes(b"short")
    assert archive.manifest(reference) is None
    archive.fetch(reference, Moved())
    assert whole(archive.directory)


@pytest.mark.parametrize("direction", ["fetch", "send"])
def test_an_archive_that_was_interrupted_is_finished(
    host: Server, archive: ControlArchive, tmp_path: Path, direction: str
) -> None:
    reference, target = archive.description.image_reference, archive.directory
    if direction == "send":
        archive.fetch(reference, Moved())
        target = tmp_path / "head"
        for path in target.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    move: Callable[[str, Moved], None] = getattr(archive, direction)
    cutting = cut_after(host, 2 * MB, target)
    with pytest.raises(TransferError, match=r"gx10-1: unreachable: .*The next run resumes\."):
        move(reference, Moved())
    cutting.join()
    assert not (target / f"images/{archive_name(reference)}").exists()
    arrived, moved = sum(path.stat().st_size for path in layers(target)), Moved()
    move(reference, moved)
    assert moved.megabytes <= 10 - arrived // MB + 1
    assert whole(target)


def test_a_head_whose_share_is_off_is_told_as_that(
    host: Server, archive: ControlArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.moved = {}
    monkeypatch.setattr("tests.unit.ssh_server.Everybody.check_channel_direct_tcpip_request", lambda *_: 2)
    with pytest.raises(TransferError, match=r"control node: .*gx10-share\.service on the sender.*ssh to gx10-1 says: "):
        archive.fetch(archive.description.image_reference, Moved())


@pytest.mark.parametrize(
    "text", ["no JSON", "[]", '{"name": "x", "files": [{"path": "../x"}]}', '{"name": "x", "files": []}']
)
@pytest.mark.usefixtures("host")
def test_a_manifest_that_is_none_moves_nothing(archive: ControlArchive, tmp_path: Path, text: str) -> None:
    reference = archive.description.image_reference
    (tmp_path / "head/images" / archive_name(reference)).write_text(text)
    with pytest.raises(TransferError, match=r"on gx10-1 is no manifest of an image"):
        archive.fetch(reference, Moved())
    assert not archive.directory.exists()


def test_a_head_that_does_not_answer_is_told(archive: ControlArchive) -> None:
    with pytest.raises(TransferError, match=r"gx10-1: the archive of .* cannot be read: unreachable"):
        archive.fetch(archive.description.image_reference, Moved())

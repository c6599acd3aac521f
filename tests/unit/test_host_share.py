"""share.py and the streams that fetch from it: read-only, never outside, over every address, past a dead one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest
from gx10_host.content import stream

from .host_side import answers, free_port, refused, run, wait_until, words
from .relayed_share import relayed, serving
from .test_host_content import MANIFEST, MB, fetch_words, flip, held, shards, stage


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    """A head's directory with manifest: 8 shards of 2 MB."""
    done = stage(shards(tmp_path / "source", 8, 2 * MB), tmp_path / "head")
    assert done.returncode == 0, done.stderr
    return tmp_path / "head"


def fetch_from(target: Path, *urls: str) -> subprocess.CompletedProcess[str]:
    """Fetch from several shares."""
    more = [word for url in urls[1:] for word in ("--url", url)]
    return run("content", *fetch_words(urls[0], target), *more, settings={"content.stream.CONNECT_SECONDS": 1})


def asked(port: int, request: bytes) -> bytes:
    """What the share answers to a raw request."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request + b"\r\nConnection: close\r\n\r\n")
        told = b""
        while block := connection.recv(65536):
            told += block
    return told


OUTSIDE = ["/models/../victim", "/models/%2e%2e/victim", "/models//../victim", "/models/link", "/models/linked/victim",
           "/../victim", "/etc/passwd", "//etc/passwd", "/models/", "/models", "/", "/models/pipe", "/models/a%00b",
           "/archive/x", "/models/" + "x" * 5000]  # fmt: skip


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: path[:25])
def test_nothing_but_plain_files_below_a_shared_directory_is_sent(tmp_path: Path, path: str) -> None:
    root = tmp_path / "head"
    root.mkdir()
    (root / "file").write_bytes(b"inside")
    (tmp_path / "victim").write_bytes(b"SECRET")
    (root / "link").symlink_to(tmp_path / "victim")
    (root / "linked").symlink_to(tmp_path)
    os.mkfifo(root / "pipe")
    with serving(root) as port:
        told = asked(port, f"GET {path} HTTP/1.1".encode())
        assert told.split(b" ")[1] in (b"403", b"404"), told[:200]
        assert b"SECRET" not in told
        assert asked(port, b"GET /models/file HTTP/1.1").endswith(b"\r\n\r\ninside")
        assert asked(port, b"GET /models/file HTTP/1.1\r\nRange: bytes=2-").endswith(b"\r\n\r\nside")
        assert asked(port, b"PUT /models/file HTTP/1.1").split(b" ")[1] == b"501"
    assert (root / "file").read_bytes() == b"inside"


def test_who_is_not_of_the_fabric_is_hung_up_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"inside")
    port = free_port()
    arguments = ["--listen", f"127.0.0.1:{port}", "--allow", "198.51.100.0/24", "--directory", f"models={tmp_path}"]
    with subprocess.Popen(words("share", *arguments)) as share:
        try:
            assert wait_until(lambda: answers(port))
            with pytest.raises((ConnectionError, IndexError)):
                asked(port, b"GET /models/file HTTP/1.1").split(b" ")[1]
        finally:
            share.kill()


def test_every_address_carries_its_part(staged: Path, tmp_path: Path) -> None:
    with relayed(staged) as one, relayed(staged) as other:
        done = fetch_from(tmp_path / "worker", one.url, other.url)
        assert done.returncode == 0, done.stderr
        assert min(one.sent, other.sent) > 0.25 * (one.sent + other.sent)
    assert held(tmp_path / "worker") == held(staged)


def test_a_dead_address_is_left_out(staged: Path, tmp_path: Path) -> None:
    with relayed(staged) as one:
        done = fetch_from(tmp_path / "worker", one.url, f"http://127.0.0.1:{free_port()}/models")
        assert done.returncode == 0, done.stderr
    assert held(tmp_path / "worker") == held(staged)


def test_what_one_peer_lacks_comes_from_another(staged: Path, tmp_path: Path) -> None:
    assert stage(tmp_path / "source", tmp_path / "peer").returncode == 0
    (tmp_path / "peer/model-3.safetensors").unlink()
    with relayed(tmp_path / "peer") as lacking, relayed(staged) as whole:
        done = fetch_from(tmp_path / "worker", lacking.url, whole.url)
        assert done.returncode == 0, done.stderr
    assert held(tmp_path / "worker") == held(staged)


def test_another_manifest_than_was_decided_by_is_refused(staged: Path, tmp_path: Path) -> None:
    with relayed(staged) as relay:
        refused(run("content", *fetch_words(relay.url, tmp_path / "worker"), "--expect", "a" * 64), "another manifest")
    assert not held(tmp_path / "worker")
    assert not (tmp_path / "worker" / MANIFEST).exists()


def test_a_head_that_lost_its_copy_is_refilled_from_a_worker_and_gets_only_what_it_lacks(
    staged: Path, tmp_path: Path
) -> None:
    with relayed(staged) as relay:
        assert fetch_from(tmp_path / "worker", relay.url).returncode == 0
    expected = held(staged)
    flip(staged / "model-1.safetensors", 1000)
    (staged / "model-2.safetensors").unlink()
    with relayed(tmp_path / "worker") as relay:
        assert fetch_from(staged, relay.url).returncode == 0
        assert 4 * MB <= relay.sent < 4.2 * MB
    assert held(staged) == expected


def test_small_files_after_large_ones_do_not_wait_for_more_than_they_are(tmp_path: Path) -> None:
    source = shards(tmp_path / "source", 8, 2 * MB)
    for number in range(40):
        (source / f"x-{number}.json").write_bytes(b"{}")
    assert stage(source, tmp_path / "head").returncode == 0
    began = time.monotonic()
    with relayed(tmp_path / "head") as relay:
        assert fetch_from(tmp_path / "worker", relay.url).returncode == 0
    assert time.monotonic() - began < 15, "a read waited until the connection was given up"
    assert held(tmp_path / "worker") == held(tmp_path / "head")


def test_what_a_transfer_came_to_is_kept_and_one_that_moved_nothing_is_not(staged: Path, tmp_path: Path) -> None:
    kept = tmp_path / "transfers.json"
    with relayed(staged) as relay:
        for _ in range(2):
            done = run("content", *fetch_words(relay.url, tmp_path / "worker"), "--record", kept)
            assert done.returncode == 0, done.stderr
        (told,) = json.loads(kept.read_text())
        size = sum(entry["size"] for entry in json.loads((staged / MANIFEST).read_text())["files"])
        assert (told["bytes"], told["from"]) == (size, [relay.url])
    assert 0 < told["seconds"] < 60


@pytest.mark.parametrize("durable", [True, False])
def test_what_stays_goes_to_the_disk_as_it_arrives(
    staged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    given: list[tuple[int, int, int]] = []
    monkeypatch.setattr(stream.os, "posix_fadvise", lambda _, *what: given.append(what))
    monkeypatch.setattr(stream, "WRITE_BACK", MB // 2)
    entry = max(json.loads((staged / MANIFEST).read_text())["files"], key=lambda one: one["size"])
    with serving(staged) as port:
        streams = stream.Streams([f"http://127.0.0.1:{port}/models"], durable=durable)
        assert streams.bring(entry["path"], entry["size"], tmp_path / "partial") == entry["sha256"]
        streams.forget(streams.urls[0])
    assert [start for start, _, _ in given] == [sum(one[1] for one in given[:turn]) for turn in range(len(given))]
    given_to_disk = sum(length for _, length, _ in given)
    assert entry["size"] - MB < given_to_disk <= entry["size"] if durable else not given
    assert {advice for *_, advice in given} <= {os.POSIX_FADV_DONTNEED}

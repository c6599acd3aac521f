"""content.py on a host: whole or absent, resumed, proven, and never outside of its directory."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from gx10_host.content import landing
from gx10_host.content import manifest as manifests
from gx10_host.content import proof as proofs
from gx10_host.content import transfer as content
from gx10_host.exits import DAMAGED
from hypothesis import given, settings
from hypothesis import strategies as st

from .host_side import SECONDS, damaged, read_json, refused, run, start, wait_until
from .relayed_share import relayed

MANIFEST = ".gx10-manifest.json"
OWN = (MANIFEST, ".gx10-proven.json")
MB = 1_000_000


def bytes_of(seed: int, count: int) -> bytes:
    return random.Random(seed).randbytes(count)  # noqa: S311 - content, not a secret


def shards(directory: Path, count: int, size: int) -> Path:
    """A directory of a model: shards, a small file and one in a directory of its own."""
    (directory / "deep/er").mkdir(parents=True)
    for index in range(count):
        (directory / f"model-{index}.safetensors").write_bytes(bytes_of(index, size))
    (directory / "config.json").write_text("{}")
    (directory / "deep/er/empty").write_bytes(b"")
    return directory


def held(directory: Path) -> dict[bytes, bytes]:
    """What stands at final names, by path."""
    found = {}
    for parent, _, names in os.walk(os.fsencode(directory)):
        for name in names:
            path = os.path.join(parent, name)  # noqa: PTH118 - names that are no text
            relative = os.path.relpath(path, os.fsencode(directory))
            unfinished = name.endswith((b".partial", b".received"))
            if not unfinished and os.fsdecode(relative) not in OWN:
                found[relative] = Path(os.fsdecode(path)).read_bytes()
    return found


def in_flight(directory: Path) -> int:
    """Bytes that have arrived so far, whole files and partial ones."""
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total


def write_manifest(directory: Path, *entries: object, **more: object) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / MANIFEST
    path.write_text(json.dumps({"name": "tiny", "files": list(entries), **more}))
    return path


def entry_of(path: str, content: bytes) -> dict[str, object]:
    return {"path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def stage(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    return run("content", "stage", "--source", source, "--to", target, "--name", "tiny")


def fetch_words(url: str, target: Path) -> list[str]:
    return ["fetch", "--url", url, "--manifest", MANIFEST, "--to", str(target)]


def fetch(url: str, target: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    return run("content", *fetch_words(url, target), settings={k.replace("__", "."): v for k, v in settings.items()})


def verify(target: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return run("content", "verify", "--manifest", target / MANIFEST, "--in", target, *more)


def flip(path: Path, at: int, keep_time: bool = False) -> None:
    times = path.stat()
    with path.open("r+b") as content:
        content.seek(at)
        byte = content.read(1)[0]
        content.seek(at)
        content.write(bytes([byte ^ 1]))
    if keep_time:
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    """A head's directory with manifest: 4 shards of 6 MB."""
    done = stage(shards(tmp_path / "source", 4, 6 * MB), tmp_path / "head")
    assert done.returncode == 0, done.stderr
    return tmp_path / "head"


def test_stage_copies_a_directory_whole_with_its_manifest(staged: Path, tmp_path: Path) -> None:
    assert held(staged) == held(tmp_path / "source")
    told = read_json(staged / MANIFEST)
    assert told["name"] == "tiny"
    assert {entry["path"]: entry["sha256"] for entry in told["files"]} == {
        os.fsdecode(path): hashlib.sha256(content).hexdigest() for path, content in held(staged).items()
    }
    assert verify(staged).returncode == 0


def test_killed_stage_leaves_no_wrong_file_and_the_next_finishes(tmp_path: Path) -> None:
    source = shards(tmp_path / "source", 6, 16 * MB)
    expected, target = held(source), tmp_path / "head"
    kills = 0
    for part in random.Random(7).choices(range(1, 95), k=10):  # noqa: S311 - random points, the same each time
        running = start("content", "stage", "--source", source, "--to", target, "--name", "tiny")
        wait_until(lambda part=part, running=running: running.poll() is not None or in_flight(target) > part * MB)
        running.kill()
        running.communicate()
        kills += running.returncode == -9
        found = held(target)
        assert found.items() <= expected.items(), "a wrong file stands at a final name"
        assert not (target / MANIFEST).exists() or found == expected, "the manifest did not land last"
    assert kills >= 3, "the kills came too late to prove anything"
    assert stage(source, target).returncode == 0
    assert held(target) == expected
    assert not list(target.rglob("*.partial"))


def test_killed_fetch_leaves_no_wrong_file_and_resumes_with_at_most_five_percent_again(
    staged: Path, tmp_path: Path
) -> None:
    expected, target = held(staged), tmp_path / "worker"
    total = sum(map(len, expected.values()))
    kills = 0
    with relayed(staged, kilobytes_per_second=8000) as relay:
        for part in sorted(random.Random(11).sample(range(1, 23), 10)):  # noqa: S311 - random points, the same each time
            # What a stream's socket holds is lost with it: a few streams, or it counts beside a model of 24 MB.
            running = start(
                "content",
                *fetch_words(relay.url, target),
                settings={"content.proof.STREAMS": 2, "content.stream.BUFFER": 1 << 14},
            )
            wait_until(lambda part=part, running=running: running.poll() is not None or in_flight(target) > part * MB)
            running.kill()
            running.communicate()
            kills += running.returncode == -9
            found = held(target)
            assert found.items() <= expected.items(), "a wrong file stands at a final name"
            assert not (target / MANIFEST).exists()
        done = fetch(relay.url, target)
        assert done.returncode == 0, done.stderr
        assert kills >= 8
        assert held(target) == expected
        assert total <= relay.sent <= 1.05 * total, f"{relay.sent / total:.3f} of the bytes were sent"


def test_killed_fetch_leaves_no_writer_behind(staged: Path, tmp_path: Path) -> None:
    target = tmp_path / "worker"
    with relayed(staged, kilobytes_per_second=500) as relay:
        running = start("content", *fetch_words(relay.url, target))
        assert wait_until(lambda: in_flight(target) > MB)
        running.kill()
        running.communicate()
        directory = os.open(target, os.O_RDONLY)

        def is_free() -> bool:
            try:
                fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        assert wait_until(is_free, seconds=5), "a transfer goes on after its program was killed"
        os.close(directory)


def test_flipped_byte_in_a_partial_is_found_and_only_that_file_is_sent_again(staged: Path, tmp_path: Path) -> None:
    target = tmp_path / "worker"
    with relayed(staged, kilobytes_per_second=8000) as relay:
        running = start("content", *fetch_words(relay.url, target))
        assert wait_until(lambda: in_flight(target) > 4 * MB)
        running.kill()
        running.communicate()
        damaged = max(target.rglob("*.partial"), key=lambda path: path.stat().st_size)
        flip(damaged, 100)
        done = fetch(relay.url, target)
        assert done.returncode == 0, done.stderr
        assert damaged.name.removesuffix(".partial") in done.stdout
        total = sum(map(len, held(staged).values()))
        assert relay.sent < total + 6.5 * MB
    assert held(target) == held(staged)


def test_flipped_byte_in_a_staged_file_is_found_and_only_that_file_is_sent(staged: Path, tmp_path: Path) -> None:
    target = tmp_path / "worker"
    with relayed(staged) as relay:
        assert fetch(relay.url, target).returncode == 0
        before = relay.sent
        flip(target / "model-2.safetensors", 5 * MB)
        damaged(verify(target), "1 absent or damaged files: model-2.safetensors")
        assert fetch(relay.url, target).returncode == 0
        assert 6 * MB <= relay.sent - before < 6.5 * MB
    assert held(target) == held(staged)


def test_damage_that_keeps_size_and_time_is_found_by_a_full_verification(staged: Path) -> None:
    flip(staged / "model-1.safetensors", 17, keep_time=True)
    assert verify(staged).returncode == 0, "only a full verification reads what is proven"
    damaged(verify(staged, "--full"), "1 absent or damaged files: model-1.safetensors")
    damaged(verify(staged), "model-1.safetensors")


def test_second_run_is_quick_and_moves_nothing(tmp_path: Path) -> None:
    source, head, worker = tmp_path / "source", tmp_path / "head", tmp_path / "worker"
    source.mkdir()
    for index in range(200):
        (source / f"shard-{index:03}").write_bytes(bytes_of(index, 10_000))
    assert stage(source, head).returncode == 0
    assert stage(source, worker).returncode == 0
    with relayed(head) as relay:
        assert fetch(relay.url, worker).returncode == 0
        times = {path: path.stat().st_ctime_ns for path in [*head.glob("shard*"), *worker.glob("shard*")]}
        before, started = relay.sent, time.monotonic()
        again = stage(source, head)
        assert "nothing was copied" in again.stdout
        fetched = fetch(relay.url, worker)
        assert "nothing moved" in fetched.stdout
        assert time.monotonic() - started < 3
        assert relay.sent - before < 60_000, "more than the manifest moved"
    assert times == {path: path.stat().st_ctime_ns for path in times}


LYING = "a" * 64
BAD_ENTRIES = [
    ("leads up", [{"path": "../evil", "size": 1, "sha256": LYING}], "leads out"),
    ("leads up in the middle", [{"path": "a/../../evil", "size": 1, "sha256": LYING}], "leads out"),
    ("absolute", [{"path": "/etc/evil", "size": 1, "sha256": LYING}], "leads out"),
    ("empty", [{"path": "", "size": 1, "sha256": LYING}], "no plain relative path"),
    ("the directory itself", [{"path": ".", "size": 1, "sha256": LYING}], "no plain relative path"),
    ("not normal", [{"path": "a//b", "size": 1, "sha256": LYING}], "no plain relative path"),
    ("NUL", [{"path": "a\0b", "size": 1, "sha256": LYING}], "no plain relative path"),
    ("a partial", [{"path": "a.partial", "size": 1, "sha256": LYING}], "unfinished transfers"),
    ("the proof", [{"path": ".gx10-proven.json", "size": 1, "sha256": LYING}], "unfinished transfers"),
    ("negative size", [{"path": "a", "size": -1, "sha256": LYING}], "number of bytes"),
    ("size is text", [{"path": "a", "size": "1", "sha256": LYING}], "number of bytes"),
    ("short hash", [{"path": "a", "size": 1, "sha256": "abc"}], "hexadecimal"),
    ("no hash", [{"path": "a", "size": 1}], "hexadecimal"),
    ("no path", [{"size": 1, "sha256": LYING}], "no path"),
    ("not an object", ["a"], "no path"),
    ("twice", [{"path": "a", "size": 1, "sha256": LYING}] * 2, "twice"),
    ("file below a file", [{"path": p, "size": 1, "sha256": LYING} for p in ("a", "a/b")], "below it"),
]


@pytest.mark.parametrize(("entries", "told"), [case[1:] for case in BAD_ENTRIES], ids=[case[0] for case in BAD_ENTRIES])
def test_manifest_that_may_not_be_written_is_refused_untouched(
    tmp_path: Path, entries: list[object], told: str
) -> None:
    write_manifest(tmp_path / "head", *entries)
    with relayed(tmp_path / "head") as relay:
        refused(fetch(relay.url, tmp_path / "below/worker"), told)
    assert not held(tmp_path / "below")
    refused(verify(tmp_path / "head"), told)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "x"}', '{"files": []}', "null"])
def test_manifest_that_is_none_is_refused_with_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "head").mkdir()
    (tmp_path / "head" / MANIFEST).write_text(text)
    refused(verify(tmp_path / "head"), MANIFEST)


@settings(deadline=None)
@given(st.text() | st.text("./\\a\0", max_size=8))
def test_no_accepted_path_leads_out_of_its_directory(name: str) -> None:
    if not manifests.fault_of_path(name):
        resolved = os.path.normpath(f"/models/tiny/{name}")
        assert resolved.startswith("/models/tiny/")
        assert resolved == f"/models/tiny/{name}"


def test_link_that_leads_out_is_not_followed(tmp_path: Path) -> None:
    outside, worker = tmp_path / "outside", tmp_path / "worker"
    outside.mkdir()
    worker.mkdir()
    (outside / "victim").write_text("untouched")
    content = b"x" * 1000
    (tmp_path / "head/sub").mkdir(parents=True)
    (tmp_path / "head/sub/file").write_bytes(content)
    write_manifest(tmp_path / "head", entry_of("sub/file", content))
    (worker / "sub").symlink_to(outside)
    with relayed(tmp_path / "head") as relay:
        refused(fetch(relay.url, worker), "leads out")
        assert sorted(path.name for path in outside.iterdir()) == ["victim"]
        (worker / "sub").unlink()
        (worker / "sub").mkdir()
        (worker / "sub/file").symlink_to(outside / "victim")
        (worker / "sub/file.partial").symlink_to(outside / "victim")
        assert fetch(relay.url, worker).returncode == 0
    assert (outside / "victim").read_text() == "untouched"
    assert not (worker / "sub/file").is_symlink()
    assert (worker / "sub/file").read_bytes() == content


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
def test_partial_that_is_another_file_too_is_not_written_through(tmp_path: Path, link: Callable[..., None]) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    source = shards(tmp_path / "source", 1, 1000)
    for name in ("head", "worker"):
        (tmp_path / name).mkdir()
        link(tmp_path / name / "model-0.safetensors.partial", victim)
    assert stage(source, tmp_path / "head").returncode == 0
    with relayed(tmp_path / "head") as relay:
        assert fetch(relay.url, tmp_path / "worker").returncode == 0
    assert held(tmp_path / "worker") == held(tmp_path / "head") == held(source)
    assert victim.read_text() == "untouched"


def test_lying_manifest_never_yields_a_final_file_and_the_others_arrive(tmp_path: Path) -> None:
    head, worker = tmp_path / "head", tmp_path / "worker"
    head.mkdir()
    (head / "right").write_bytes(b"right")
    (head / "lied").write_bytes(b"lied about")
    lie = entry_of("lied", b"lied about") | {"sha256": LYING}
    short = entry_of("short", b"short") | {"size": 50}
    (head / "short").write_bytes(b"short")
    write_manifest(head, lie, short, entry_of("right", b"right"))
    with relayed(head) as relay:
        for _ in range(2):
            refused(
                fetch(relay.url, worker),
                "lied arrived with sha256",
                "check the sender",
                "short is not there",
                "5 bytes",
            )
            assert held(worker) == {b"right": b"right"}
            assert not (worker / MANIFEST).exists()
            assert not list(worker.rglob("*.partial"))


def test_file_that_the_sender_lost_is_named_and_the_others_arrive(tmp_path: Path) -> None:
    head, worker = tmp_path / "head", tmp_path / "worker"
    write_manifest(head, entry_of("lost", b"lost"), entry_of("there", b"there"))
    (head / "there").write_bytes(b"there")
    with relayed(head) as relay:
        refused(fetch(relay.url, worker), "/lost is not there to fetch")
    assert held(worker) == {b"there": b"there"}


def test_disk_that_is_too_small_is_refused_before_a_byte(tmp_path: Path) -> None:
    head, worker, source = tmp_path / "head", tmp_path / "worker", tmp_path / "source"
    write_manifest(head, {"path": "huge", "size": 10**15, "sha256": LYING})
    source.mkdir()
    with (source / "huge").open("wb") as sparse:
        sparse.truncate(8 << 40)
    with relayed(head) as relay:
        refused(fetch(relay.url, worker), "tiny needs 1000000.0 GB more in", "are missing")
        assert relay.connections == 1, "more than the manifest was asked for"
    assert not held(worker)
    refused(stage(source, tmp_path / "staged"), "GB are missing")
    assert not held(tmp_path / "staged")


def test_what_a_partial_holds_is_not_asked_of_the_disk_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shard.partial").write_bytes(bytes_of(1, 900_000))
    entry = {"path": "shard", "size": MB, "sha256": LYING}
    monkeypatch.setattr(landing.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 200_000})())
    landing.room_for(tmp_path, "tiny", [entry])
    (tmp_path / "shard.partial").unlink()
    with pytest.raises(manifests.Wrong, match=r"0\.8 MB are missing"):
        landing.room_for(tmp_path, "tiny", [entry])


def test_progress_is_told_while_bytes_move(staged: Path, tmp_path: Path) -> None:
    with relayed(staged, kilobytes_per_second=8000) as relay:
        done = fetch(relay.url, tmp_path / "worker", content__proof__TELL_SECONDS=0.5)
    lines = [line for line in done.stdout.splitlines() if "s left" in line]
    assert len(lines) >= 2, done.stdout
    assert "of 24 MB" in lines[0]
    assert "MB/s" in lines[0]
    assert done.stdout.splitlines()[-1].startswith("tiny: 24 MB in ")


ODD_NAMES = [
    b'with space', b' leading space', b'new\nline', b'-leading-dash', b'non\xff\xfeutf8', b'a[1].bin',
    b'a1.bin', b'a*', b'who?', b'back\\slash', b'#hash', b';semicolon',
    b'~tilde', b'quote\'"', b'colon:name', b'..hidden', b'deep dir/x y',
]  # fmt: skip


def test_odd_names_arrive_as_they_are(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep dir").mkdir(parents=True)
    for index, name in enumerate(ODD_NAMES):
        Path(os.fsdecode(os.fsencode(source) + b"/" + name)).write_bytes(bytes_of(index, 100))
    assert stage(source, tmp_path / "head").returncode == 0
    with relayed(tmp_path / "head") as relay:
        done = fetch(relay.url, tmp_path / "worker")
    assert done.returncode == 0, done.stderr
    assert len(held(source)) == len(ODD_NAMES)
    assert held(tmp_path / "worker") == held(tmp_path / "head") == held(source)


TELL_MEMORY = "[print(line, file=sys.stderr) for line in open('/proc/self/status') if line.startswith('VmHWM')]"


def test_memory_is_bounded_whatever_the_size(tmp_path: Path) -> None:
    source = shards(tmp_path / "source", 4, 48 * MB)
    with relayed(tmp_path / "head") as relay:
        for told in (
            ["stage", "--source", source, "--to", tmp_path / "head", "--name", "tiny"],
            fetch_words(relay.url, tmp_path / "worker"),
            ["verify", "--full", "--manifest", tmp_path / "head" / MANIFEST, "--in", tmp_path / "head"],
        ):
            done = run("content", *told, settings={"content.proof.STREAMS": 8}, at_exit=TELL_MEMORY)
            assert done.returncode == 0, done.stderr
            peak = int(done.stderr.split()[1])
            assert peak < 80_000, f"{told[0]} held {peak} kB"


def test_two_runs_at_once_send_everything_once(staged: Path, tmp_path: Path) -> None:
    with relayed(staged, kilobytes_per_second=12_000) as relay:
        both = [start("content", *fetch_words(relay.url, tmp_path / "worker")) for _ in range(2)]
        told = [running.communicate(timeout=SECONDS) for running in both]
        assert [running.returncode for running in both] == [0, 0], told
        assert sum("waiting for another run" in out for out, _ in told) == 1
        assert relay.sent < 25 * MB
    assert held(tmp_path / "worker") == held(staged)


def test_run_that_finds_another_at_work_gives_up_after_a_bound(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    with pytest.raises(manifests.Wrong, match="Another run has been working"), landing.alone_in(tmp_path, 0.2):
        pytest.fail("entered a locked directory")
    os.close(directory)


def test_cut_connection_is_taken_up_again_where_it_broke(staged: Path, tmp_path: Path) -> None:
    with relayed(staged) as relay:
        relay.cut_at = 10 * MB
        done = fetch(relay.url, tmp_path / "worker")
        assert done.returncode == 0, done.stderr
        assert relay.cut_at == 0, "the cut never came"
        assert relay.sent < 1.1 * 24 * MB
    assert held(tmp_path / "worker") == held(staged)


def test_absent_sender_is_given_up_with_a_sentence(tmp_path: Path) -> None:
    with relayed(tmp_path) as relay:
        relay.close()
        done = fetch(relay.url, tmp_path / "worker", content__stream__ATTEMPTS=2)
    refused(done, "could not be fetched after 2 attempts", "gx10-share.service", "the next run resumes")


def test_file_in_a_directorys_place_is_named(tmp_path: Path) -> None:
    source = shards(tmp_path / "source", 1, 1000)
    (tmp_path / "head/config.json").mkdir(parents=True)
    refused(stage(source, tmp_path / "head"), "config.json is a directory, expected a file")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda source: source.rename(source.with_name("elsewhere")), "does not exist on this host"),
        (lambda source: [path.unlink() for path in source.rglob("*") if path.is_file()], "holds no file"),
        (lambda source: (source / "dangling").symlink_to("nowhere"), "dangling is no file"),
        (lambda source: (source / "link").symlink_to(source / "deep"), "link is no file"),
        (lambda source: os.mkfifo(source / "pipe"), "pipe is no file"),
        (lambda source: (source / "x.partial").write_text("half"), "rest of an unfinished transfer"),
    ],
    ids=["absent", "empty", "dangling link", "link to a directory", "pipe", "unfinished"],
)
def test_source_that_cannot_be_copied_whole_is_refused(tmp_path: Path, make: object, told: str) -> None:
    source = shards(tmp_path / "source", 1, 1000)
    make(source)  # type: ignore[operator]
    refused(stage(source, tmp_path / "head"), told)
    assert not (tmp_path / "head" / MANIFEST).exists()


def test_source_inside_its_own_target_is_refused(tmp_path: Path) -> None:
    source = shards(tmp_path / "models/source", 1, 1000)
    refused(stage(source, tmp_path / "models"), "lie one in the other")
    refused(stage(source, source / "deep"), "lie one in the other")


def test_links_in_a_source_arrive_as_files(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs/abc").write_bytes(b"weights")
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot/model.safetensors").symlink_to("../blobs/abc")
    assert stage(tmp_path / "snapshot", tmp_path / "head").returncode == 0
    assert held(tmp_path / "head") == {b"model.safetensors": b"weights"}
    assert not (tmp_path / "head/model.safetensors").is_symlink()


def test_weights_in_place_get_their_manifest_there(tmp_path: Path) -> None:
    place = shards(tmp_path / "place", 2, 5000)
    (tmp_path / "blob").write_bytes(b"linked")
    (place / "linked").symlink_to(tmp_path / "blob")
    before = held(place)
    assert stage(place, place).returncode == 0
    assert held(place) == before
    assert verify(place).returncode == 0
    assert (tmp_path / "blob").read_bytes() == b"linked"
    assert len(read_json(place / MANIFEST)["files"]) == len(before)


def test_damaged_weights_in_place_are_never_taken_for_right(tmp_path: Path) -> None:
    place = shards(tmp_path / "place", 2, 5000)
    assert stage(place, place).returncode == 0
    described = (place / MANIFEST).read_bytes()
    flip(place / "model-0.safetensors", 9)
    refused(stage(place, place), "model-0.safetensors", "no source to copy them from")
    assert (place / MANIFEST).read_bytes() == described


def test_unreadable_proof_proves_nothing_and_everything_is_hashed_again(staged: Path) -> None:
    (staged / ".gx10-proven.json").write_text("{")
    flip(staged / "model-0.safetensors", 9, keep_time=True)
    damaged(verify(staged), "model-0.safetensors")


def test_file_that_changes_while_it_is_hashed_is_not_proven(tmp_path: Path) -> None:
    (tmp_path / "shard").write_bytes(b"content")
    proof = proofs.Proof(tmp_path)
    entry = entry_of("shard", b"content")
    proof.record(entry, (tmp_path / "shard").stat().st_mtime_ns - 1)
    assert not proof.holds(entry)
    proof.record(entry, (tmp_path / "shard").stat().st_mtime_ns)
    assert proof.holds(entry)


@given(st.lists(st.integers(0, 10**9), max_size=60), st.integers(1, 12))
def test_the_parts_of_all_nights_are_everything_once_and_about_equal(sizes: list[int], nights: int) -> None:
    entries = [{"path": f"shard-{index}", "size": size} for index, size in enumerate(sizes)]
    parts = [content.sample(entries, night, nights) for night in range(1, nights + 1)]
    assert sorted(entry["path"] for part in parts for entry in part) == sorted(entry["path"] for entry in entries)
    loads = [sum(entry["size"] for entry in part) for part in parts]
    assert max(loads) - min(loads) <= max(sizes, default=0) + len(sizes)


def test_a_part_is_hashed_whatever_was_proven(staged: Path) -> None:
    flip(staged / "model-1.safetensors", 17, keep_time=True)
    assert verify(staged).returncode == 0
    found = [verify(staged, "--sample", f"{part}/3").returncode for part in (1, 2, 3)]
    assert sorted(found) == [0, 0, DAMAGED], "exactly one night finds it"
    for wrong in ("0/3", "4/3", "x", "1/0"):
        refused(verify(staged, "--sample", wrong), "is no part such as 3/7")


def test_a_directory_elsewhere_is_described_without_being_touched(tmp_path: Path) -> None:
    source = shards(tmp_path / "source", 2, 5000)
    before = {path: path.stat().st_mtime_ns for path in source.rglob("*")}
    described = tmp_path / "state/manifest.json"
    done = run("content", "describe", "--source", source, "--name", "tiny", "--to", described)
    assert done.returncode == 0, done.stderr
    assert {entry["path"] for entry in read_json(described)["files"]} == {os.fsdecode(path) for path in held(source)}
    assert {path: path.stat().st_mtime_ns for path in source.rglob("*")} == before
    flip(source / "model-0.safetensors", 3)
    assert run("content", "describe", "--source", source, "--name", "tiny", "--to", described).returncode == 0
    told = {entry["path"]: entry["sha256"] for entry in read_json(described)["files"]}
    assert told["model-0.safetensors"] == hashlib.sha256((source / "model-0.safetensors").read_bytes()).hexdigest()

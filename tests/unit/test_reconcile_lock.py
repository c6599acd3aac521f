"""One run at a time, and no lock that outlives its holder."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gx10.access import lock
from gx10.access.lock import LockHeldError, LockUnknownError, broken, locked, said, shown
from gx10.access.remote import Answer
from gx10.described.description import Description, describe
from gx10.probes import probe_words

from .host_side import wait_until

SECONDS = 30


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the head's lock stands."""
    return tmp_path / "run" / "lock"


def words(place: Path, action: str, seconds: float = 600, reason: str = "a test") -> list[str]:
    holder = {"owner": "ada", "host": "desk", "holder_pid": 7, "reason": reason, "since": 0, "expires": 0}
    asked = {"action": action, "holder": holder, "seconds": seconds, "path": str(place)}
    return [sys.executable, *probe_words("lock", asked)[1:]]


class Taken:
    """A process that tried to take the head's lock."""

    def __init__(self, place: Path, seconds: float = 600, reason: str = "a test") -> None:
        self.process = subprocess.Popen(
            words(place, "hold", seconds, reason), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        self.told = json.loads(self.process.stdout.readline())

    def end(self) -> None:
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait(timeout=SECONDS)
        if self.process.stdout:
            self.process.stdout.close()


def ask(place: Path, action: str) -> dict[str, object]:
    done = subprocess.run(words(place, action), capture_output=True, text=True, timeout=SECONDS, check=True)
    told: dict[str, object] = json.loads(done.stdout)
    return told


def test_the_second_is_refused_and_told_who_holds_it(place: Path) -> None:
    first = Taken(place, reason="swapping disks")
    second = Taken(place)
    assert (first.told["held"], second.told["held"]) == (True, False)
    assert "ada@desk, process 7: swapping disks, since" in said(second.told["holder"])
    assert ask(place, "show")["holder"]
    second.end()
    first.end()
    assert not place.exists()
    assert ask(place, "show") == {"holder": None}


def test_the_lock_ends_with_its_holder_however_that_ends(place: Path) -> None:
    first = Taken(place)
    first.end()
    assert not place.exists(), "the other end of the pipe is closed when a process dies, whatever it died of"


def test_a_killed_keeper_leaves_a_lock_that_the_next_takes_over_at_once(place: Path) -> None:
    first = Taken(place)
    first.process.send_signal(signal.SIGKILL)
    first.end()
    assert place.exists()
    second = Taken(place)
    assert second.told["held"]
    assert second.told["taken_over"]["because"] == "the process that held it is gone"
    second.end()


def test_a_lock_of_an_earlier_boot_is_nobodys(place: Path) -> None:
    first = Taken(place)
    holder = place / "holder.json"
    holder.write_text(json.dumps({**json.loads(holder.read_text()), "boot": "another"}))
    second = Taken(place)
    assert second.told["taken_over"]["because"] == "its host was booted since"
    second.end()
    first.process.kill()
    first.end()


def test_a_lock_past_its_time_is_taken_over_and_its_keeper_ended(place: Path) -> None:
    first = Taken(place, seconds=-1)
    second = Taken(place)
    assert second.told["taken_over"]["because"] == "its time is over"
    assert first.process.wait(timeout=SECONDS) == 0
    assert json.loads((place / "holder.json").read_text())["pid"] == second.process.pid, "the old keeper left it alone"
    first.end()
    second.end()


def test_a_keeper_that_ends_never_takes_away_what_another_has_taken_meanwhile(place: Path) -> None:
    first = Taken(place)
    with place.with_name("lock.guard").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        assert first.process.stdin
        first.process.stdin.close()
        with pytest.raises(subprocess.TimeoutExpired):
            first.process.wait(timeout=1)
        held = json.loads((place / "holder.json").read_text())
        (place / "holder.json").write_text(json.dumps({**held, "pid": os.getpid()}))
    first.end()
    assert json.loads((place / "holder.json").read_text())["pid"] == os.getpid()


def test_a_lock_without_a_name_is_somebodys_for_a_moment_only(place: Path) -> None:
    place.mkdir(parents=True)
    second = Taken(place)
    assert not second.told["held"]
    second.end()
    os.utime(place, (time.time() - 60, time.time() - 60))
    third = Taken(place)
    assert third.told["held"]
    third.end()


def test_a_broken_lock_is_free_and_its_keeper_ended(place: Path) -> None:
    first = Taken(place)
    assert ask(place, "break")["broken"]
    first.process.wait(timeout=SECONDS)
    second = Taken(place)
    assert second.told["held"]
    first.end()
    second.end()


def test_of_many_that_come_at_once_one_has_it(place: Path) -> None:
    place.mkdir(parents=True)
    (place / "holder.json").write_text(json.dumps({"boot": "gone", "pid": 1, "process_started": 1, "expires": 0}))
    processes = [
        subprocess.Popen(words(place, "hold"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    told = [json.loads(process.stdout.readline()) for process in processes if process.stdout]
    assert sum(one["held"] for one in told) == 1
    for process in processes:
        process.communicate()


# As a run takes it: on this node, and on the head through ssh.


@pytest.fixture
def description(place: Path, monkeypatch: pytest.MonkeyPatch) -> Description:
    """The lab, whose head is this machine: ssh is a shell."""

    def probe(name: str, asked: dict[str, object]) -> list[str]:
        return [sys.executable, *probe_words(name, {**asked, "path": str(place)})[1:]]

    def run(_description: Description, host: str, command: list[str], seconds: float = 30) -> Answer:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
        return Answer(host, done.stdout) if done.returncode == 0 else Answer(host, reason=done.stderr)

    monkeypatch.setattr(lock, "probe_words", probe)
    monkeypatch.setattr(lock, "run", run)
    monkeypatch.setattr(lock, "ssh_words", lambda _d, command: ["sh", "-c", command])
    return describe("lab")


def test_a_run_holds_both_locks_and_lets_both_go(description: Description, tmp_path: Path, place: Path) -> None:
    with locked(description, tmp_path, "reconciliation", 60) as held:
        assert place.exists()
        assert "reconciliation" in shown(description)
        assert len(held.descriptors) == 2
        with pytest.raises(LockHeldError, match=r"another run on this node holds the lock: .*reconciliation"):
            locked(description, tmp_path, "another", 60).__enter__()
        (tmp_path / "elsewhere").mkdir()
        with pytest.raises(LockHeldError, match=r"gx10-1 is locked by .*reconciliation"):
            locked(description, tmp_path / "elsewhere", "another", 60).__enter__()
    assert shown(description) == ""
    with locked(description, tmp_path, "the next", 60) as held:
        assert held.taken_over == ""


def test_a_run_waits_as_long_as_it_is_told(description: Description, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with locked(description, tmp_path / "a", "first", 60):
        started = time.monotonic()
        with pytest.raises(LockHeldError):
            locked(description, tmp_path / "b", "second", 60, wait_seconds=2.5).__enter__()
        assert 2 <= time.monotonic() - started < SECONDS


def test_a_child_that_outlives_the_run_keeps_the_lock(
    description: Description, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_end_without", lambda *_: None)  # this process stands for one that was killed
    with locked(description, tmp_path, "reconciliation", 60) as held:
        child = subprocess.Popen(["sleep", "60"], pass_fds=held.descriptors)
        os.close(held.descriptors[1])  # as the kernel does when this process is killed
        freed = wait_until(lambda: not place.exists(), seconds=0.3)
        assert not freed, "the child could still act on the cluster"
        child.kill()
        child.wait()
        assert wait_until(lambda: not place.exists(), SECONDS)
        os.dup2(os.open(os.devnull, os.O_RDONLY), held.descriptors[1])


def test_breaking_tells_who_held_it_and_ends_who_did(
    description: Description, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[tuple[int, int]] = []
    monkeypatch.setattr(lock.os, "kill", lambda *told: ended.append(told))
    monkeypatch.setattr(lock, "LOST", [])
    with locked(description, tmp_path, "reconciliation", 60):
        assert "reconciliation" in broken(description)
        assert shown(description) == ""
        wait_until(lambda: ended)
    assert ended == [(os.getpid(), signal.SIGTERM)], "two runs would act at once"
    assert "was lost" in lock.LOST[0]
    assert broken(description) == ""


def test_letting_go_is_no_loss(description: Description, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[object] = []
    monkeypatch.setattr(lock.os, "kill", lambda *told: ended.append(told))
    for _ in range(3):
        with locked(description, tmp_path, "reconciliation", 60):
            pass
    assert ended == []


def test_a_head_that_does_not_answer_is_unknown_and_no_permission(
    description: Description, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "ssh_words", lambda _d, _c: ["sh", "-c", "echo no route to host >&2; exit 255"])
    with pytest.raises(LockUnknownError, match="gx10-1 cannot be asked for its lock: no route to host"):
        locked(description, tmp_path, "reconciliation", 60).__enter__()
    monkeypatch.setattr(lock, "run", lambda *_: Answer("gx10-1", reason="unreachable"))
    with pytest.raises(LockUnknownError, match="unreachable"):
        shown(description)

"""Writers of files and blocks: files as described, each whole or not at all, and no secret readable on the way."""

from __future__ import annotations

import base64
import grp
import json
import os
import pwd
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from gx10.probes import writer_words

from .host_side import PYTHON, SECONDS, refused, wait_until

USER = pwd.getpwuid(os.getuid()).pw_name
GROUP = grp.getgrgid(os.getgid()).gr_name
MARKS = ("# gx10: begin", "# gx10: end")
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")


def run(program: str, told: object, start: str = "") -> subprocess.CompletedProcess[str]:
    """Run an installer as a host does: its text with what it imports as an argument, what to do on standard input."""
    command = [*PYTHON, "-c", start + writer_words(program)[4]]
    return subprocess.run(command, input=json.dumps(told), capture_output=True, text=True, timeout=SECONDS, check=False)


def entry(
    path: Path, content: bytes | None, mode: str = "644", user: str = USER, group: str = GROUP
) -> dict[str, object]:
    encoded = None if content is None else base64.b64encode(content).decode()
    return {"path": str(path), "mode": mode, "user": user, "group": group, "content": encoded}


def put(*entries: dict[str, object]) -> subprocess.CompletedProcess[str]:
    return run("put", list(entries))


def put_block(path: Path, *lines: str) -> subprocess.CompletedProcess[str]:
    return run("block", {"path": str(path), "marks": MARKS, "lines": list(lines)})


def mode(path: Path) -> str:
    return format(stat.S_IMODE(path.lstat().st_mode), "o")


def test_files_and_directories_are_put_as_described(tmp_path: Path) -> None:
    content = bytes(range(256))
    done = put(
        entry(tmp_path / "etc", None, "750"),
        entry(tmp_path / "etc/unit", content, "640"),
        entry(tmp_path / "run/program.py", b"", "755"),
    )
    assert done.returncode == 0, done.stderr
    assert mode(tmp_path / "etc") == "750"
    assert (tmp_path / "etc/unit").read_bytes() == content
    assert mode(tmp_path / "etc/unit") == "640"
    assert mode(tmp_path / "run/program.py") == "755"


def test_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    told = [entry(tmp_path / "directory", None, "775"), entry(tmp_path / "file", b"x", "666")]
    for umask in ("0o077", "0"):
        assert run("put", told, start=f"import os; os.umask({umask})\n").returncode == 0
        assert (mode(tmp_path / "directory"), mode(tmp_path / "file")) == ("775", "666")


def test_secret_is_readable_by_nobody_else_at_any_instant(tmp_path: Path) -> None:
    """Each system call that could change what others see is followed by a look at all files."""
    seen = tmp_path / "seen"
    look = f"""
import os, stat, sys
def look(event, arguments):
    if event in looked:
        for name in os.listdir({str(tmp_path / "secrets")!r}):
            found = os.lstat({str(tmp_path / "secrets")!r} + "/" + name)
            os.write(out, f"{{name}} {{stat.S_IMODE(found.st_mode):o}} {{found.st_size}}\\n".encode())
looked = {{"open", "os.chmod", "os.chown", "os.rename", "os.remove", "os.mkdir"}}
out = os.open({str(seen)!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.umask(0)
sys.addaudithook(look)
"""
    (tmp_path / "secrets").mkdir()
    told = [entry(tmp_path / f"secrets/key{number}", b"s" * 300_000, "600") for number in range(3)]
    for _ in range(2):
        assert run("put", told, start=look).returncode == 0
    states = [line.split() for line in seen.read_text().splitlines()]
    assert len(states) > 20
    assert any("partial" in name for name, _, _ in states), "the watch saw no file being written"
    assert {found for _, found, _ in states} == {"600"}


def test_watched_from_outside_a_file_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    path, contents, stop = tmp_path / "file", [b"a" * 200_000, b"b" * 100_000], threading.Event()
    path.write_bytes(contents[0])
    wrong: list[int] = []
    reads = [0]

    def watch() -> None:
        while not stop.is_set():
            found = path.read_bytes()
            reads[0] += 1
            if found not in contents:
                wrong.append(len(found))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert wait_until(lambda: reads[0] > 10)
        for content in (contents * 4)[1:]:
            assert put(entry(path, content)).returncode == 0
    finally:
        stop.set()
        watcher.join()
    assert not wrong


def test_killed_put_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    dies = "import os, signal; os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
    assert run("put", [entry(path, b"new")], start=dies).returncode == -9
    assert path.read_text() == "old"
    assert put(entry(path, b"new")).returncode == 0
    assert sorted(found.name for found in tmp_path.iterdir()) == ["file"]
    assert path.read_text() == "new"


def test_link_gives_way_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_text("not ours")
    (tmp_path / "file").symlink_to(tmp_path / "other/file")
    (tmp_path / "directory").symlink_to(tmp_path / "other")
    (tmp_path / ".sneaky.gx10-partial").symlink_to(tmp_path / "other/file")
    done = put(
        entry(tmp_path / "file", b"ours"), entry(tmp_path / "directory", None), entry(tmp_path / "sneaky", b"ours")
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "file").is_symlink()
    assert (tmp_path / "file").read_text() == (tmp_path / "sneaky").read_text() == "ours"
    assert not (tmp_path / "directory").is_symlink()
    assert not list((tmp_path / "directory").iterdir())
    assert (tmp_path / "other/file").read_text() == "not ours"


def test_file_gives_way_to_a_directory_and_an_empty_directory_to_a_file(tmp_path: Path) -> None:
    (tmp_path / "directory").write_text("file")
    (tmp_path / "file").mkdir()
    assert put(entry(tmp_path / "directory", None), entry(tmp_path / "file", b"x")).returncode == 0
    assert (tmp_path / "directory").is_dir()
    assert (tmp_path / "file").read_text() == "x"


def test_full_directory_is_never_removed_for_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    (tmp_path / "file/kept").write_text("kept")
    refused(put(entry(tmp_path / "file", b"secret", "600")), str(tmp_path / "file"), "could not be written")
    assert (tmp_path / "file/kept").read_text() == "kept"
    assert [found.name for found in tmp_path.iterdir()] == ["file"], "what was written so far is left behind"


def test_existing_directory_keeps_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/weights").write_text("kept")
    assert put(entry(tmp_path / "models", None, "700")).returncode == 0
    assert mode(tmp_path / "models") == "700"
    assert (tmp_path / "models/weights").read_text() == "kept"


def test_user_that_does_not_exist_is_told_so(tmp_path: Path) -> None:
    refused(put(entry(tmp_path / "file", b"x", user="nobody-here")), "nobody-here")
    assert not list(tmp_path.iterdir())


@as_root
def test_owner_is_as_described(tmp_path: Path) -> None:
    other, group = pwd.getpwuid(1).pw_name, grp.getgrgid(2).gr_name
    told = [entry(tmp_path / "d", None, "755", other, group), entry(tmp_path / "f", b"x", "640", other, group)]
    assert put(*told).returncode == 0
    for name in ("d", "f"):
        assert ((tmp_path / name).stat().st_uid, (tmp_path / name).stat().st_gid) == (1, 2)


OTHERS = b"127.0.0.1\tlocalhost\n# a comment \xff that is no UTF-8\n\n10.0.0.1 a\x0bb\n"


def lines(*told: str) -> bytes:
    return "".join(f"{line}\n" for line in (MARKS[0], *told, MARKS[1])).encode()


def test_block_leads_the_file_and_all_other_lines_stay(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_bytes(OTHERS)
    done = put_block(path, "10.77.1.11 gx10-1")
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == lines("10.77.1.11 gx10-1") + OTHERS


def test_block_put_again_changes_nothing_and_put_anew_replaces(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_bytes(OTHERS)
    for _ in range(2):
        assert put_block(path, "one", "two").returncode == 0
        assert path.read_bytes() == lines("one", "two") + OTHERS
    assert put_block(path, "three").returncode == 0
    assert path.read_bytes() == lines("three") + OTHERS


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        (b"a\n# gx10: begin\nold\n# gx10: end\nb\n", b"a\nb\n"),
        (b"a\n# gx10: begin\nwhose\n", b"a\nwhose\n"),
        (b"a\n# gx10: end\nb\n", b"a\nb\n"),
        (b"# gx10: end\na\n# gx10: begin\nb\n", b"a\nb\n"),
        (b"# gx10: begin\nwhose\n# gx10: begin\nold\n# gx10: end\na\n", b"whose\na\n"),
        (b"# gx10: begin\n1\n# gx10: end\na\n# gx10: begin\n2\n# gx10: end\nb\n", b"a\nb\n"),
        (b"no newline at the end", b"no newline at the end\n"),
        (b"", b""),
    ],
    ids=["moved", "no end", "no begin", "reversed", "two begins", "two blocks", "no newline", "empty"],
)
def test_damaged_marks_cost_no_line_of_others(tmp_path: Path, before: bytes, kept: bytes) -> None:
    path = tmp_path / "hosts"
    path.write_bytes(before)
    for _ in range(2):
        assert put_block(path, "new").returncode == 0
        assert path.read_bytes() == lines("new") + kept


def test_block_makes_a_file_that_is_absent(tmp_path: Path) -> None:
    assert put_block(tmp_path / "hosts", "one").returncode == 0
    assert (tmp_path / "hosts").read_bytes() == lines("one")
    assert mode(tmp_path / "hosts") == "644"


def test_block_keeps_mode_and_the_link_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "kept-elsewhere").write_bytes(OTHERS)
    (tmp_path / "kept-elsewhere").chmod(0o600)
    (tmp_path / "hosts").symlink_to("kept-elsewhere")
    assert put_block(tmp_path / "hosts", "one").returncode == 0
    assert (tmp_path / "hosts").is_symlink()
    assert (tmp_path / "kept-elsewhere").read_bytes() == lines("one") + OTHERS
    assert mode(tmp_path / "kept-elsewhere") == "600"


@as_root
def test_block_keeps_the_owner(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_bytes(OTHERS)
    os.chown(tmp_path / "hosts", 1, 2)
    assert put_block(tmp_path / "hosts", "one").returncode == 0
    assert ((tmp_path / "hosts").stat().st_uid, (tmp_path / "hosts").stat().st_gid) == (1, 2)


def test_block_that_cannot_be_written_is_told_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "hosts").mkdir()
    refused(put_block(tmp_path / "hosts", "one"), str(tmp_path / "hosts"), "could not be written")

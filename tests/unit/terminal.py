"""A terminal with a command in it: what somebody sees, types and closes."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

CTRL_C = b"\x03"
COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A pseudo terminal that controls a command, as a window does: what is typed there reaches the whole group."""

    def __init__(
        self,
        words: Sequence[str],
        directory: Path,
        environment: Mapping[str, str] | None = None,
        errors: IO[bytes] | None = None,
    ) -> None:
        self.text = ""
        self.ours, theirs = pty.openpty()
        self.command = subprocess.Popen(
            ["setsid", "--ctty", *words],
            cwd=directory,
            env={**os.environ, **(environment or {})},
            stdin=theirs,
            stdout=theirs,
            stderr=errors or theirs,
        )
        os.close(theirs)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.command.poll() is None:
            self.command.kill()
        self.command.wait()
        self.close()

    @property
    def seen(self) -> str:
        """What stands there, without colours."""
        return COLOUR.sub("", self.text).replace("\r", "")

    def until(self, words: str, seconds: float = 60) -> None:
        """Wait until something stands there."""
        end = time.monotonic() + seconds
        while words not in self.seen:
            assert time.monotonic() < end, f"{words!r} never came:\n{self.seen}"
            if not self._read():
                assert words in self.seen, f"{words!r} never came, the command has ended:\n{self.seen}"

    def type(self, keys: bytes) -> None:
        """Type keys."""
        os.write(self.ours, keys)

    def close(self) -> None:
        """Close the window."""
        if self.ours >= 0:
            os.close(self.ours)
            self.ours = -1

    def ended(self, seconds: float = 30) -> int:
        """Wait for the end of the command; returns its status."""
        end = time.monotonic() + seconds
        while self.ours >= 0 and self._read():
            assert time.monotonic() < end, f"it does not end:\n{self.seen}"
        return self.command.wait(max(1, end - time.monotonic()))

    def _read(self) -> bool:
        if not select.select([self.ours], [], [], 0.2)[0]:
            return self.command.poll() is None
        with contextlib.suppress(OSError):  # the other side is closed
            if read := os.read(self.ours, 65536):
                self.text += read.decode(errors="replace")
                return True
        return False

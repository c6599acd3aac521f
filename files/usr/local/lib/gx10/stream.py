"""One file at a time from another host's rsync daemon, resumed where the last attempt stopped."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import threading

from landing import Stop, own_file
from manifest import RECEIVED, Wrong

ATTEMPTS = 5
"""Attempts of one file that bring no byte."""


class Stream:
    """One file at a time from another host's rsync daemon, resumed where the last attempt stopped."""

    def __init__(self, url, lock, stopped=None):
        self.url, self.lock, self.stopped = url.rstrip("/") + "/", lock, stopped or threading.Event()
        # rsync 3.5 asked for a list of names in a directory below a module says that each has vanished; asked for the
        # same files by their names from the module on, it sends them.
        scheme, _, host, module, below = self.url.split("/", 4)
        self.module, self.below = f"{scheme}//{host}/{module}/", below

    def bring(self, entry, target, progress=None):
        """Complete a file; an attempt that brought bytes starts the count of attempts anew."""
        attempt = 0
        if own_file(target) and target.stat().st_size > entry["size"]:
            target.unlink()  # rsync --append leaves a longer file as it is.
        while True:
            before = length(target)
            status, reason = self.attempt(entry["path"], target, progress)
            if status == 0 and target.exists():
                return
            attempt = 1 if length(target) > before else attempt + 1
            self.give_up(entry["path"], target, status, reason, attempt)
            self.stopped.wait(min(2**attempt, 15))

    def give_up(self, path, target, status, reason, attempt):
        """Raise where another attempt is pointless."""
        if self.stopped.is_set():
            raise Stop(f"{self.url}{path} was not fetched: another file failed.")
        if status in (0, 4, 23):
            raise Wrong(
                f"{self.url}{path} is not there to fetch: {reason or 'it is no plain file'}. "
                "Have the sender's copy proven by running the deploy again."
            )
        if status == 11:
            raise Stop(f"{target} could not be written: {reason}. Free disk space there; the next run resumes.")
        if attempt >= ATTEMPTS:
            raise Stop(
                f"{self.url}{path} could not be fetched after {attempt} attempts: {reason}. "
                "Check the fabric cable and gx10-share.service on the sender; the next run resumes."
            )

    def attempt(self, path, target, progress):
        """One rsync; returns its status and what it said. A stalled stream is given up after 30 s.

        The name goes through --files-from, where it stands for itself: in an URL the daemon would expand wildcards.
        """
        argv = [
            "setpriv", "--pdeathsig", "TERM", "--",
            "rsync", "--append", "--inplace", "--no-relative", "--files-from=-", "--from0",
            "--timeout=30", "--contimeout=10", "--", self.module, str(target),
        ]  # fmt: skip
        with tempfile.TemporaryFile() as said:
            moving = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said, pass_fds=[self.lock]
            )
            with contextlib.suppress(BrokenPipeError):
                moving.stdin.write(os.fsencode(self.below + path) + b"\0")
                moving.stdin.close()
            counted = 0 if target.name.endswith(RECEIVED) else length(target)
            try:
                while True:
                    ended = waited(moving, 0.5)
                    now = length(target)
                    if progress:
                        progress.add(now - counted)
                    counted = now
                    if ended:
                        break
                    if self.stopped.is_set():
                        moving.terminate()
            finally:
                moving.kill()
                moving.wait()
            said.seek(0)
            lines = said.read(4096).decode(errors="backslashreplace").split("\n")
        return moving.returncode, " ".join(line.strip() for line in lines if line.strip())


def waited(process, seconds):
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def length(path):
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0

"""One file at a time from the shares of other hosts, resumed where the last attempt stopped, hashed as it arrives."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import pathlib
import socket
import threading
import urllib.parse
from collections.abc import Iterator, Sequence
from io import FileIO

from .landing import Stop, own_file
from .manifest import Wrong
from .proof import Progress, block_of, digest_so_far

ATTEMPTS = 5
"""Attempts of one file that bring no byte."""
STALLED_SECONDS = 30
CONNECT_SECONDS = 10
BUFFER = 1 << 18
"""Bytes that may lie unread in a connection's socket, and are lost with a receiver that is killed. More are not needed:
at 1.5 GB/s and 0.1 ms 150 kB are on their way."""
WAKE = 1 << 18
"""Bytes that a read waits for at most: what a kill costs."""
WRITE_BACK = 1 << 23
"""Bytes after which the disk is given what has arrived: else it rests until a file is synced, and the stream then."""


class NotThere(Exception):
    """A share that answered, and does not have the file, or another one of that name."""


class SenderGone(Exception):
    """A share that does not answer, or breaks off; it may come back."""


class Streams:
    """Files from shares that hold the same: addresses of one host, or hosts that are proven good.

    Each thread keeps a connection to each of them; files take turns, so that every address carries its part. Files that
    are `durable` go to the disk as they arrive; others are read again soon, and stay in memory.
    """

    def __init__(self, urls: Sequence[str], *, durable: bool = False) -> None:
        self.urls = [url.rstrip("/") + "/" for url in urls]
        self.durable, self.stopped = durable, threading.Event()
        self.turn, self.kept = itertools.count(), threading.local()

    def bring(self, path: str, size: int | None, target: pathlib.Path, progress: Progress | None = None) -> str:
        """Complete a file, and return the sha256 of what it holds then; `size` None takes what there is.

        An attempt that brought bytes starts the count of attempts anew; one that brought none goes to the next share.
        """
        if own_file(target) and (size is None or target.stat().st_size > size):
            target.unlink()
        first, attempt, absent = next(self.turn), 0, {}
        with target.open("ab", buffering=0) as out:
            digest, have = digest_so_far(target)
            given = have
            while size is None or have < size or attempt == 0:
                url = self.urls[(first + attempt) % len(self.urls)]
                before, reason = have, ""
                try:
                    for block in self.blocks(url, path, have, size):
                        if self.stopped.is_set():
                            raise Stop(f"{url}{path} was not fetched: another file failed.")
                        write_whole(out, block)
                        digest.update(block)
                        have += len(block)
                        if self.durable and have - given >= WRITE_BACK:
                            # Begins to write, and lets go of the memory of what has been written.
                            os.posix_fadvise(out.fileno(), given, have - given, os.POSIX_FADV_DONTNEED)
                            given = have
                        if progress:
                            progress.add(len(block))
                    break
                except NotThere as told:
                    absent[url] = str(told)
                except (http.client.HTTPException, SenderGone) as error:
                    reason = str(error) or type(error).__name__
                self.forget(url)
                attempt = 1 if have > before else attempt + 1
                try:
                    self.give_up(path, url, absent, reason, attempt)
                except Wrong:
                    if not have:
                        target.unlink()
                    raise
                if reason and attempt >= len(self.urls):
                    self.stopped.wait(min(2**attempt, 15))
        return digest.hexdigest()

    def give_up(self, path: str, url: str, absent: dict[str, str], reason: str, attempt: int) -> None:
        """Raise where another attempt is pointless."""
        if self.stopped.is_set():
            raise Stop(f"{url}{path} was not fetched: another file failed.")
        if len(absent) == len(self.urls):
            raise Wrong(
                f"{url}{path} is not there to fetch: {absent[url]}. "
                "Have the sender's copy proven by running the deploy again."
            )
        if attempt >= max(ATTEMPTS, 2 * len(self.urls)):
            raise Stop(
                f"{url}{path} could not be fetched after {attempt} attempts: {reason or absent[url]}. "
                f"Check {way_to(url)} and gx10-share.service on the sender; the next run resumes."
            )

    def blocks(self, url: str, path: str, start: int, size: int | None) -> Iterator[memoryview]:
        """The bytes of a file from `start` on, in blocks that are overwritten by the next."""
        answer = self.answer(url, path, start)
        total = start + int(answer.headers["Content-Length"])
        if size is not None and total != size:
            raise NotThere(f"it has {total} bytes there, expected {size}")
        block = block_of(self.kept)
        wake = min(WAKE, total >> 8)
        self.wake(url, wake)
        while start < total:
            if wake > 1 and total - start < wake:
                self.wake(url, wake := 1)
            try:
                # What has arrived, without waiting for a whole block: a kill must not cost what lies in it.
                count = answer.fp.readinto1(block[: total - start])
            except OSError as error:
                raise SenderGone(f"{type(error).__name__} {error}") from error
            if not count:
                raise SenderGone("the connection ended early")
            start += count
            yield block[:count]
        answer.close()  # Read to its end, so the connection can be asked again.
        self.wake(url, 1)

    def wake(self, url: str, count: int) -> None:
        """Wait for so many bytes before each read: a thread that is woken for each packet has no time for its hash."""
        if connected := self.connected(url)[0].sock:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, max(1, count))

    def answer(self, url: str, path: str, start: int) -> http.client.HTTPResponse:
        """An open answer for a file from `start` on."""
        connection, below = self.connected(url)
        quoted = below + urllib.parse.quote_from_bytes(os.fsencode(path))
        try:
            connection.request("GET", quoted, headers={"Range": f"bytes={start}-"} if start else {})
            answer = connection.getresponse()
        except OSError as error:
            raise SenderGone(f"{type(error).__name__} {error}") from error
        if answer.status in (403, 404, 416):
            answer.read()
            raise NotThere({403: "it is no plain file", 404: "no such file", 416: "it is shorter"}[answer.status])
        if answer.status != (206 if start else 200) or "Content-Length" not in answer.headers:
            raise SenderGone(f"it answered {answer.status} {answer.reason}")
        return answer

    def connected(self, url: str) -> tuple[http.client.HTTPConnection, str]:
        """This thread's connection to a share, and the path below which its files are."""
        kept = self.kept.__dict__.setdefault("connections", {})
        parts = urllib.parse.urlsplit(url)
        if url not in kept:
            address, port = parts.hostname or "", parts.port or http.client.HTTP_PORT
            connection = http.client.HTTPConnection(address, port)
            try:
                connection.sock = connected_to(address, port)
            except OSError as error:
                raise SenderGone(f"{error.strerror or error or type(error).__name__}") from error
            kept[url] = connection
        return kept[url], parts.path

    def forget(self, url: str) -> None:
        """Leave a connection on which something went wrong."""
        if connection := self.kept.__dict__.setdefault("connections", {}).pop(url, None):
            with contextlib.suppress(OSError):
                connection.close()


def connected_to(address: str, port: int) -> socket.socket:
    """A socket whose buffer is bounded before it connects, which is when its window is agreed on."""
    connected = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    try:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.settimeout(CONNECT_SECONDS)
        connected.connect((address, port))
        connected.settimeout(STALLED_SECONDS)
    except OSError:
        connected.close()
        raise
    return connected


def way_to(url: str) -> str:
    """What leads to a share: one that listens on this host itself is the end of a tunnel."""
    return "the ssh connection that leads there" if "//127.0.0.1:" in url else "the fabric cable"


def write_whole(out: FileIO, block: memoryview) -> None:
    """Write a block; a disk that fills up takes a part of it before it refuses."""
    while block:
        block = block[out.write(block) :]

"""A connection for one question over HTTP with one deadline for all of it, and with as many bytes as it takes in all.

A timeout of Python's own is for each read alone: a peer that drips is never late by it.
"""

from __future__ import annotations

import http.client
import socket
import time
from typing import Any


class TooLong(http.client.HTTPException):
    """More came than is read."""


class Connection(http.client.HTTPConnection):
    """A connection from a source address, or from any; no proxy of the environment sees it.

    Whatever comes too late raises TimeoutError, wherever it is read.
    """

    def __init__(
        self, host: str, port: int | None, source: tuple[str, int] | None, seconds: float, longest: int
    ) -> None:
        super().__init__(host, port, timeout=seconds, source_address=source)
        self.until, self.longest = time.monotonic() + seconds, longest

    def connect(self) -> None:
        """Connect."""
        super().connect()
        self.sock = _Bounded(self.sock, self.until, self.longest)


class _Bounded(socket.socket):
    def __init__(self, plain: socket.socket, until: float, longest: int) -> None:
        super().__init__(fileno=plain.detach())
        self.until, self.longest, self.left = until, longest, longest

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Receive, as a file over this socket does."""
        self._hurry()
        count = super().recv_into(buffer, nbytes, flags)
        self.left -= count
        if self.left < 0:
            raise TooLong(f"its answer has more than {self.longest} bytes")
        return count

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send; the timeout of this one is for all of it."""
        self._hurry()
        super().sendall(data, flags)

    def _hurry(self) -> None:
        if (left := self.until - time.monotonic()) <= 0:
            raise TimeoutError
        self.settimeout(left)

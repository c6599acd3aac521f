"""Orders and reports over HTTP, bounded at both ends: in bytes, in connections, and in time as a whole.

Plain sockets, as neither side of Python's own HTTP has a deadline for a whole message: a peer that drips one byte every
few seconds holds it for ever. A message is one POST and its answer on a connection of its own.
"""

from __future__ import annotations

import contextlib
import re
import socket
import socketserver
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable

from gx10_host.checked import Refused, to_bytes
from gx10_host.wire import LONGEST_ORDER, LONGEST_REPORT, SEAL_HEADER, Envelope, Seal

IP_FREEBIND = 15
LONGEST_HEAD = 8 * 1024
ORDER_SECONDS = 3
"""How long an order and its answer may take as a whole."""
MOST_CONNECTIONS = 32
"""Open at once; then the source that has most of them loses its oldest, so that no other can crowd the head out."""
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: [^\r\n]*)?")
REQUEST = re.compile(rb"POST /\S{0,100} HTTP/1\.[01]")
LENGTH = re.compile(r"\d{1,9}")
REASONS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 500: "Internal Server Error"}

Answer = Callable[[Envelope, str], tuple[int, bytes]]
"""Answers a message that came from an address with a status and a body, or raises Refused."""
Complain = Callable[[str, str], object]
"""Counts what came from an address and was no message, and why."""
Surprise = Callable[[str, BaseException], object]
"""Counts what went wrong here by no fault of the sender."""


class Silence(ConnectionError):
    """A connection that was closed before it said anything: who looks whether the port is open, or a host that ends."""


def post(address: str, port: int, source: str, envelope: Envelope, seconds: float = ORDER_SECONDS) -> tuple[int, bytes]:
    """Send a message from a source address; its answer as status and body. Raises OSError, and Refused for nonsense."""
    until = time.monotonic() + seconds
    with socket.create_connection((address, port), seconds, (source, 0)) as connection:
        seal = f"{SEAL_HEADER}: {envelope.seal}\r\n" if envelope.seal else ""
        head = f"POST / HTTP/1.1\r\nHost: {address}\r\nContent-Length: {len(envelope.body)}\r\n{seal}\r\n"
        _send(connection, head.encode() + envelope.body, until)
        first, answer = _receive(connection, until, LONGEST_REPORT)
        if (status := STATUS.fullmatch(first)) is None:
            raise Refused("its first line is none of HTTP")
        return int(status[1]), answer.body


class Server(socketserver.ThreadingTCPServer):
    """Takes messages on the fabric address, which need not be there yet."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], answer: Answer, complain: Complain, surprise: Surprise) -> None:
        self.answer, self.complain, self.surprise = answer, complain, surprise
        self.lock = threading.Lock()
        self.connections: dict[socket.socket, str] = {}
        """Open ones with their sources, oldest first."""
        super().__init__(address, Message)

    def server_bind(self) -> None:
        """Bind, whether the address is there or not."""
        self.socket.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        super().server_bind()

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Begin with a connection, at the cost of another one where there are too many."""
        assert isinstance(request, socket.socket) and isinstance(client_address, tuple)  # noqa: S101, PT018 - TCP
        with self.lock:
            self.connections[request] = client_address[0]
            crowded = self._crowding() if len(self.connections) > MOST_CONNECTIONS else None
            if crowded is not None:
                source = self.connections.pop(crowded)
                with contextlib.suppress(OSError):
                    crowded.shutdown(socket.SHUT_RDWR)  # Its own thread sees the end of it, and closes it.
        if crowded is not None:
            self.complain(source, f"more than {MOST_CONNECTIONS} connections at once")
        super().process_request(request, client_address)

    def close_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """End with a connection."""
        assert isinstance(request, socket.socket)  # noqa: S101 - TCP
        with self.lock:
            self.connections.pop(request, None)
        super().close_request(request)

    def handle_error(self, _request: object, client_address: object) -> None:
        """What was thrown while a connection was taken or answered ends that connection alone."""
        if (error := sys.exception()) is not None:
            self.surprise("an answer", error)

    def _crowding(self) -> socket.socket:
        ((source, _),) = Counter(self.connections.values()).most_common(1)
        return next(connection for connection, other in self.connections.items() if other == source)


class Message(socketserver.BaseRequestHandler):
    """One message and its answer."""

    server: Server
    request: socket.socket

    def handle(self) -> None:
        """Read it, have it answered, and send that."""
        source, until = self.client_address[0], time.monotonic() + ORDER_SECONDS
        try:
            first, envelope = _receive(self.request, until, LONGEST_ORDER)
            if not REQUEST.fullmatch(first):
                raise Refused("its first line is no POST of HTTP")
            status, body = self.server.answer(envelope, source)
        except Silence:
            return
        except TimeoutError:
            self.server.complain(source, f"it did not come whole within {ORDER_SECONDS} s")
            return
        except OSError:
            self.server.complain(source, "its connection broke")
            return
        except Refused as refused:
            self.server.complain(source, str(refused))
            status, body = 400, to_bytes({"error": f"this is no order: {refused}"})
        head = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        with contextlib.suppress(OSError):
            _send(self.request, head.encode() + body, max(until, time.monotonic() + 1))


def _receive(connection: socket.socket, until: float, longest: int) -> tuple[bytes, Envelope]:
    """The first line of a message, and what it carries."""
    received = b""
    while b"\r\n\r\n" not in received:
        if len(received) > LONGEST_HEAD:
            raise Refused(f"its head has more than {LONGEST_HEAD} bytes")
        received += _some(connection, until, started=bool(received))
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.decode("latin-1").partition(":")
        if headers.setdefault(name.lower(), value.strip()) != value.strip():
            raise Refused("a header stands twice")
    length = headers.get("content-length", "")
    if not LENGTH.fullmatch(length) or int(length) > longest:
        raise Refused(f"its length is {length[:20] or 'missing'}, at most {longest} bytes are read")
    parts, missing = [body], int(length) - len(body)
    while missing > 0:
        parts.append(_some(connection, until, started=True))
        missing -= len(parts[-1])
    seal = headers.get(SEAL_HEADER.lower())
    return first, Envelope(b"".join(parts)[: int(length)], Seal.parse(seal) if seal else None)


def _some(connection: socket.socket, until: float, *, started: bool) -> bytes:
    connection.settimeout(_left(until))
    received = connection.recv(65536)
    if not received:
        raise Refused("it ends in the middle") if started else Silence
    return received


def _send(connection: socket.socket, message: bytes, until: float) -> None:
    connection.settimeout(_left(until))
    connection.sendall(message)  # Its timeout is one for all of it.


def _left(until: float) -> float:
    if (left := until - time.monotonic()) <= 0:
        raise TimeoutError
    return left

"""The read-only share of a host: files of named directories over HTTP, for the other hosts on the fabric.

    gx10-host share --listen ADDRESS:PORT ... --allow SUBNET ... --directory NAME=PATH ...
    share.py @FILE                                                      the same, one argument a line

A request is `GET /NAME/PATH/BELOW` with, where it resumes, `Range: bytes=N-`. The kernel moves the bytes from the page
cache to the socket: a sender costs the engine beside it next to no CPU time, and each stream has a thread of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import http.server
import ipaddress
import os
import pathlib
import re
import socket
import stat
import struct
import sys
import threading
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

STALLED_SECONDS = 60
STALLED = struct.pack("ll", STALLED_SECONDS, 0)
"""The same as a struct timeval."""
IP_FREEBIND = 15
FROM = re.compile(r"bytes=([0-9]+)-")


class Share(http.server.ThreadingHTTPServer):
    """One address of the share. Whoever comes from elsewhere than the allowed subnets is hung up on."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        allowed: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network],
        directories: Mapping[str, str],
    ) -> None:
        self.allowed, self.directories = allowed, directories
        super().__init__(address, Request)

    def server_bind(self) -> None:
        # The fabric's link may come up after this service.
        self.socket.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        super(http.server.HTTPServer, self).server_bind()  # HTTPServer would ask a name server who we are.
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def verify_request(self, request: object, client_address: Any) -> bool:
        return any(ipaddress.ip_address(client_address[0]) in subnet for subnet in self.allowed)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # A receiver that went away is its own affair.
            super().handle_error(request, client_address)


class Request(http.server.BaseHTTPRequestHandler):
    """One connection; it may ask for one file after the other."""

    protocol_version = "HTTP/1.1"
    timeout = STALLED_SECONDS
    server: Share

    def do_GET(self) -> None:
        descriptor = None
        try:
            descriptor = self.opened()
            self.send(descriptor)
        except (FileNotFoundError, NotADirectoryError, PermissionError, ValueError) as error:
            self.refuse(403 if isinstance(error, PermissionError) else 404)
        except OSError as error:
            if error.errno not in (errno.EISDIR, errno.ENXIO, errno.ELOOP, errno.ENAMETOOLONG):
                raise
            self.refuse(404)
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def opened(self) -> int:
        """A descriptor of the file that is asked for, which must be a plain one inside its directory."""
        path = urllib.parse.unquote_to_bytes(self.path)
        name, _, relative = path.lstrip(b"/").partition(b"/")
        root = os.fsencode(pathlib.Path(self.server.directories[name.decode()]).resolve())
        descriptor = os.open(root + b"/" + relative, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        # Judged by what was opened and not by the name: links that lead out, also one swapped in meanwhile.
        there = os.fsencode(pathlib.Path(f"/proc/self/fd/{descriptor}").readlink())
        if not stat.S_ISREG(os.fstat(descriptor).st_mode) or not there.startswith(root.rstrip(b"/") + b"/"):
            os.close(descriptor)
            raise PermissionError
        return descriptor

    def send(self, descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        asked = FROM.fullmatch(self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        if start > size:
            self.refuse(416)
            return
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{max(size - 1, 0)}/{size}")
        self.send_header("Content-Length", str(size - start))
        self.end_headers()
        os.posix_fadvise(descriptor, start, 0, os.POSIX_FADV_SEQUENTIAL)
        # The kernel waits for room in the socket, and for a receiver that stalled: a time-out of Python's would wake
        # this thread for each piece.
        self.connection.settimeout(None)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, STALLED)
        while start < size:
            sent = os.sendfile(self.connection.fileno(), descriptor, start, size - start)
            if not sent:
                self.close_connection = True  # The file became shorter: the receiver must not wait for the rest.
                break
            start += sent
        self.connection.settimeout(STALLED_SECONDS)

    def refuse(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """A model has thousands of requests: systemd's journal is for what went wrong."""


class Directories(dict[str, str]):
    """Directories by name; a name that is not shared is as absent as a file."""

    def __missing__(self, name: str) -> str:
        raise FileNotFoundError(name)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, fromfile_prefix_chars="@"
    )
    parser.add_argument("--listen", action="append", required=True)
    parser.add_argument("--allow", action="append", required=True)
    parser.add_argument("--directory", action="append", required=True)
    arguments = parser.parse_args(argv)
    directories = Directories(told.partition("=")[::2] for told in arguments.directory)
    allowed = [ipaddress.ip_network(subnet) for subnet in arguments.allow]
    servers = []
    for told in arguments.listen:
        address, _, port = told.rpartition(":")
        servers.append(Share((address, int(port)), allowed, directories))
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        servers[0].serve_forever()
    return 0

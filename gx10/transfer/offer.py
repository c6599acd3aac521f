"""A share of one directory on this node's loopback: `python -m gx10.transfer.offer DIRECTORY` tells its port.

A process of its own, because what moves a file to a socket (`sendfile`) would hold up all other connections of a
deploy. It ends when its standard input does: with whoever started it, however that ends.
"""

from __future__ import annotations

import contextlib
import sys
from ipaddress import ip_network
from threading import Thread

from gx10_host.content.share import Directories, Share

NAME = "offered"
"""What the directory is called in a URL."""


def main(directory: str) -> None:
    """Offer a directory until standard input ends."""
    server = Share(("127.0.0.1", 0), [ip_network("127.0.0.0/8")], Directories({NAME: directory}))
    print(server.server_port, flush=True)
    Thread(target=_end_with_input, args=(server,), daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()


def _end_with_input(server: Share) -> None:
    sys.stdin.buffer.read()
    server.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])

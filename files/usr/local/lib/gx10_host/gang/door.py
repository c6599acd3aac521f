"""The door in front of the engine's API: clients are refused at once, or let through, without touching the engine.

A table of its own in the kernel's firewall. Closed in two steps, so that nobody who was let in is cut off: first new
connections are refused; then, when those that were just made have sent their request, also the next request on a
connection that is kept alive. Packets of requests that run pass all the time.
"""

from __future__ import annotations

import subprocess

from gx10_host.engine.api import OWN_ADDRESS

TABLE = "gx10_door"
POST = "0x504f5354"


def rules(port: int, step: int) -> str:
    """The table for a step: 0 open, 1 no new connections, 2 no new requests either."""
    lines = [f"table inet {TABLE}", f"delete table inet {TABLE}"]
    if step:
        lines += [
            f"table inet {TABLE} {{",
            "chain input {",
            "type filter hook input priority filter - 20; policy accept;",
            # Nobody but this host can have an address of the loopback network.
            f'iifname "lo" ip saddr {OWN_ADDRESS} accept',
            f"tcp dport {port} tcp flags & (syn | ack) == syn reject with tcp reset",
        ]
        if step > 1:
            # A packet whose payload begins a request.
            lines += [f"tcp dport {port} @ih,0,32 {POST} reject with tcp reset"]
        lines += ["}", "}"]
    return "\n".join(lines) + "\n"


class Door:
    """The door, with the step it stands at."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.step: int | None = None

    def move(self, step: int) -> str:
        """Open (0), or close in steps (1, 2); says what went wrong, or nothing."""
        if step == self.step:
            return ""
        try:
            done = subprocess.run(
                ["nft", "--file", "-"], input=rules(self.port, step), capture_output=True, text=True, timeout=10,
                check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"the door cannot be moved: {error}"
        if done.returncode:
            return f"the door cannot be moved: {done.stderr.strip()[:200]}"
        self.step = step
        return ""

"""What to do where a host lets nobody in, by what OpenSSH or paramiko says of it."""

from __future__ import annotations

SIGNS = (
    (
        ("Permission denied", "Authentication error", "Too many authentication failures"),
        "put this node's public key into that user's authorized_keys, or name the right key in the cluster file under "
        "access.key",
    ),
    (
        ("IDENTIFICATION HAS CHANGED", "SSH host key error"),
        "the host was reinstalled or is another one: compare its key on its console, then correct the known hosts file",
    ),
    (
        ("Host key verification failed", "No host key"),
        "log in once with ssh to accept its key, or add it to the known hosts file",
    ),
    (("Could not resolve hostname",), "correct the host's address in the cluster file"),
)
"""What is said, and what to do."""


def remedy(said: str) -> str:
    """What to do, as part of a sentence; nothing where the host did not even answer."""
    return next((what for signs, what in SIGNS if any(sign in said for sign in signs)), "")

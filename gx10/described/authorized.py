"""Lines of authorized_keys: which of them are the reconciler's, and what must become of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

COMMENT = "gx10-reconcile@"
"""How the comment of every reconciler's key begins; what follows is the cluster's name."""
_KEY = re.compile(
    r"(?:^|(?<=[ \t]))(?P<type>(?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+)[ \t]+(?P<blob>[A-Za-z0-9+/]+=*)"
    r"(?:[ \t]+(?P<comment>.*))?$"
)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True)
class Key:
    """A public key: what tells it from others, and what its owner wrote behind it."""

    material: str
    """Type and key, without options and comment."""
    comment: str

    @property
    def of_a_reconciler(self) -> bool:
        """Whether this package wrote it."""
        return self.comment.startswith(COMMENT) and " " not in self.comment


@dataclass(frozen=True)
class Settled:
    """What must become of authorized_keys, so that one line is the reconciler's and all others are their owners'."""

    removed: tuple[str, ...]
    """Lines that go, each as it stands."""
    added: str | None
    """The line that comes last, unless it stands already."""
    findings: tuple[tuple[str, str], ...]
    """What is wrong and what is described instead, in words."""


def key_of(line: str) -> Key | None:
    """The key that a line of authorized_keys holds; None for a remark, an empty line and what is no key."""
    if line.lstrip().startswith("#"):
        return None
    # Options may hold quoted blanks, and in them anything that looks like a key.
    bare = _QUOTED.sub(lambda quoted: "q" * len(quoted[0]), line.strip())
    found = _KEY.search(bare)
    if found is None:
        return None
    # Quoted text behind the key is the comment's own.
    comment = line.strip()[found.start("comment") :] if found["comment"] else ""
    return Key(f"{found['type']} {found['blob']}", comment.strip())


def described_line(key: str, origin: Sequence[str], comment: str) -> str:
    """The line that lets the reconciler's key in from its own host only, without a terminal or forwarding."""
    told = key_of(key)
    if told is None:
        raise ValueError(f"the reconciler's public key is none: {key[:60]!r}")
    return f'from="{",".join(origin)}",restrict {told.material} {comment}'


def settled(lines: Sequence[str], wanted: str | None) -> Settled:
    """What must become of these lines where `wanted` is the reconciler's, or where no reconciler is described."""
    ours = key_of(wanted) if wanted else None
    stands = wanted is not None and lines.count(wanted) == 1
    removed: list[str] = []
    findings: list[tuple[str, str]] = []
    for line in lines:
        key = key_of(line)
        if key is None or (stands and line == wanted):
            continue
        if ours is not None and key.material == ours.material:
            removed.append(line)
            what = "a second line" if stands or line == wanted else "another line"
            findings.append((f"{what} of the reconciler's key, as {key.comment or 'nobody'}", "one, as described"))
        elif key.of_a_reconciler:
            removed.append(line)
            findings.append((f"a key of {key.comment}, which is not described", "absent"))
    added = wanted if wanted is not None and not stands else None
    if added and not any(described == "one, as described" for _, described in findings):
        findings.insert(0, ("no such key", "the reconciler's key"))
    return Settled(tuple(dict.fromkeys(removed)), added, tuple(dict.fromkeys(findings)))

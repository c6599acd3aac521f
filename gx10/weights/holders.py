"""Who holds the weights, who sends them, and who lacks them: decided once, from what every host knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Stored:
    """What a host knows of a model directory, as the probe tells it."""

    digest: str
    """Digest of its manifest."""
    files: int
    bytes: int
    unproven: tuple[str, ...]
    missing_bytes: int
    """What the unproven files still take on this host's disk, partial files counted in."""
    source: Mapping[str, str] | None = None
    """The hub's repository and revision, where they came from a hub."""

    @classmethod
    def of(cls, told: Mapping[str, Any] | None) -> Stored | None:
        """The probe's answer; None where no manifest stands."""
        if told is None:
            return None
        return cls(
            told["digest"],
            told["files"],
            told["bytes"],
            tuple(told["unproven"]),
            told.get("missing_bytes", 0),
            told.get("source"),
        )

    @property
    def proven(self) -> bool:
        """Whether every file was hashed to what the manifest says and has not changed since."""
        return not self.unproven


@dataclass(frozen=True)
class Holding:
    """The weights that shall stand everywhere, as far as any host has them."""

    digest: str | None
    """Digest of their manifest; None where no host is proven to hold them."""
    proven: tuple[str, ...]
    """Hosts that are proven to hold exactly these, the keeper first."""
    bytes: int = 0

    def complete(self, host: str) -> bool:
        """Whether a host needs nothing."""
        return host in self.proven

    def senders(self, to: str, busy: Iterable[str] = ()) -> tuple[str, ...]:
        """Hosts that can send to this one; those that serve requests come last."""
        late = set(busy)
        return tuple(sorted((name for name in self.proven if name != to), key=lambda name: name in late))


def holding(
    stored: Mapping[str, Stored | None],
    keeper: str,
    recorded: str | None = None,
    source: Mapping[str, str] | None = None,
) -> Holding:
    """Decide which weights are right.

    A keeper whose files all prove decides. One whose manifest and files disagree cannot be believed, whichever of the
    two is wrong: then what the control node recorded counts, and without it what most proven hosts hold. Where the
    recipe pins a revision of a hub (`source`), only weights of that revision count.
    """
    sound = {
        name: each
        for name, each in stored.items()
        if each is not None and each.proven and (source is None or each.source == source)
    }
    if keeper in sound:
        digest = sound[keeper].digest
    elif recorded in {each.digest for each in sound.values()}:
        digest = str(recorded)
    elif sound:
        # Of equal counts the first host's: every host must decide alike.
        digest = Counter(each.digest for each in sound.values()).most_common(1)[0][0]
    else:
        return Holding(None, ())
    names = [name for name, each in sound.items() if each.digest == digest]
    names.sort(key=lambda name: name != keeper)
    return Holding(digest, tuple(names), sound[names[0]].bytes)

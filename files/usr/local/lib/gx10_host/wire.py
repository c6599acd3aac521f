"""What supervisors say to each other: the head's orders, the hosts' reports, and how a life is named.

Everything is checked here, on both sides, before it is stored or acted on; `parse` raises Refused with a sentence.

Versions. A message carries WIRE as `wire`. A newer version may add keys and never changes what a key means, so what a
newer one says beside the known keys is ignored, while an unknown key in a message of this version or an older one is
refused. Messages without a number are of the time before there was one. They hold the same keys with the same meaning,
and programs of that time ignore `wire` and what was added, so that hosts which a deploy has reached and those which it
has not yet understand each other both ways: no report is lost, and no lease runs out.

In one file because it is all that two hosts, of whichever versions, have to agree on.

Authentication has its place in Envelope: a seal travels in a header beside the body, where older programs overlook it.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self

from . import checked
from .checked import As, AtMost, Between, Form, Free, NoneAs, Refused

WIRE = 1
NEWEST = 1_000_000
LONGEST_ORDER = 16 * 1024
LONGEST_REPORT = 512 * 1024
MOST_LIVES, MOST_NEEDS, MOST_LINES, MOST_SENDERS, MOST_FAULTS, MOST_HOSTS = 32, 128, 64, 8, 16, 256
LONGEST_LINE, LONGEST_SENTENCE = 300, 300
FOREVER_SECONDS = 10**10
"""No duration and no time of day is beyond it."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
GENERATION = re.compile(r"[0-9a-f]{16}")
NUMBER = re.compile(r"[1-9][0-9]{0,8}")
LIFE = re.compile(rf"(?P<generation>{GENERATION.pattern})\.(?P<number>{NUMBER.pattern})")
KEY = re.compile(rf"(?:{LIFE.pattern.replace('?P<generation>', '?:').replace('?P<number>', '?:')})? (?:start|run|stop)")
ADOPTED, LEASE_OVER, NO_ORDER = "adopted", "lease over", ""
"""What a host was brought to without an order: by its own memory, by the end of its lease, by nothing yet."""
UNDER = re.compile(rf"{KEY.pattern}|{ADOPTED}|{LEASE_OVER}|{NO_ORDER}")
ADDRESS = re.compile(r"[0-9A-Fa-f.:]{2,45}")
WORD = re.compile(r"[A-Za-z0-9._ -]{0,64}")
SEAL_HEADER = "Gx10-Seal"
SEAL = re.compile(r"(?P<nonce>[0-9a-f]{32}) (?P<code>[0-9a-f]{64})")

Part = Literal["ray", "engine"]
Want = Literal["run", "stop"]
Direction = Literal["order", "report"]
Name = Annotated[str, Form(NAME, "a name")]
Address = Annotated[str, Form(ADDRESS, "an address")]
Word = Annotated[str, Form(WORD, "a word")]
Text = Annotated[str, Free(100)]
Line = Annotated[str, Free(LONGEST_LINE)]
Sentence = Annotated[str, Free(LONGEST_SENTENCE)]
Seconds = Annotated[float, Between(0, FOREVER_SECONDS)]
Moment = Annotated[float, Between(-FOREVER_SECONDS, FOREVER_SECONDS)]
Lines = Annotated[tuple[tuple[Moment, Line], ...], AtMost(MOST_LINES)]
Count = Annotated[int, Between(0, 10**15)]


@dataclass(frozen=True, slots=True, order=True)
class Generation:
    """The digest of everything that configures the gang, as 16 hex digits."""

    SPELLED: ClassVar[re.Pattern[str]] = GENERATION
    digest: str

    def __post_init__(self) -> None:
        if not GENERATION.fullmatch(self.digest):
            raise Refused(f"{checked.quoted(self.digest)} is no generation: 16 hex digits are")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read it, or raise Refused."""
        return cls(text)

    def __str__(self) -> str:
        return self.digest


@dataclass(frozen=True, slots=True, order=True)
class Life:
    """One run of the whole gang, written GENERATION.NUMBER; numbers only grow, whatever the generation."""

    SPELLED: ClassVar[re.Pattern[str]] = LIFE
    generation: Generation
    number: int

    def __post_init__(self) -> None:
        if not NUMBER.fullmatch(str(self.number)):
            raise Refused(f"{self.number} is no number of a life: 1 to 999999999 is")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read it, or raise Refused."""
        if (parts := LIFE.fullmatch(text)) is None:
            raise Refused(f"{checked.quoted(text)} is no life: GENERATION.NUMBER is")
        return cls(Generation(parts["generation"]), int(parts["number"]))

    def __str__(self) -> str:
        return f"{self.generation}.{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the head wants of a host; it is a lease, and holds for `lease_seconds` from when it came."""

    cluster: Name
    head: Name
    want: Want
    life: Life | None = None
    """The life that is to run, or that is to have ended; none where there was none since the head's boot."""
    start: bool = False
    """Whether what does not run yet is started; a life is joined when it begins, and never later."""
    parts: Annotated[tuple[Part, ...], AtMost(2)] = ()
    fallback: Annotated[int, Between(0, 99)] = 0
    keep: Generation | None = None
    """The generation whose files are worth keeping, as it serves well."""
    restore: Generation | None = None
    """The generation whose files are to be put back."""
    fault: bool = False
    """Whether what the stop ends has failed, so that evidence is collected first."""
    kill_after: Annotated[float, Between(0, 10**6)] = 5
    """Seconds that ranks get to end by themselves."""

    @property
    def key(self) -> str:
        """What is asked for, as reports quote it and people read it."""
        verb = "stop" if self.want == "stop" else "start" if self.start else "run"
        return f"{self.life or ''} {verb}"

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read it, or raise Refused."""
        document, newer = _versioned(body, LONGEST_ORDER)
        key = document.pop("key", None)
        if not isinstance(key, str) or not KEY.fullmatch(key):
            raise Refused(f"key is {checked.quoted(key)}, not LIFE start, run or stop")
        if "wire" not in document and document.get("want") == "stop":
            document.setdefault("life", key.rpartition(" ")[0])  # Without a version a stop names its life there alone.
        document.pop("wire", None)
        order = checked.read(cls, document, newer=newer)
        if order.key != key:
            raise Refused(f"key is {checked.quoted(key)} where the order says {checked.quoted(order.key)}")
        if order.want == "run" and order.life is None:
            raise Refused("life is missing")
        return order

    def to_bytes(self) -> bytes:
        """The order as it travels."""
        return checked.to_bytes({"wire": WIRE, "key": self.key, **checked.plain(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What a host has started of a life; also its file on disk, so that a supervisor starts nothing twice."""

    life: Annotated[Life | None, NoneAs("")] = None
    parts: Annotated[tuple[Part, ...], AtMost(2)] = ()
    since: Moment = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PartState:
    """How a part's unit stands: in a word, in systemd's, and how it ended where it is dead."""

    state: Literal["up", "down", "starting", "active", "dead"]
    sub: Word = ""
    result: Annotated[Word, As("Result")] = ""
    code: Annotated[Word, As("ExecMainCode")] = ""
    status: Annotated[Word, As("ExecMainStatus")] = ""
    when: Moment = 0
    """When its process ended, by the host's own clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """Who belongs to a gang: its head, and hosts with their fabric addresses."""

    head: Name
    hosts: Annotated[Mapping[Name, Address], AtMost(MOST_HOSTS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sworn:
    """Whom a host obeys: what one that refuses an order answers."""

    cluster: Name
    head: Name
    address: Address

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read it, or raise Refused."""
        document, newer = _versioned(body, LONGEST_ORDER)
        sworn = checked.read(cls, document.get("obeys"), newer=newer, where="obeys")
        try:
            address = str(ipaddress.ip_address(sworn.address))
        except ValueError:
            raise Refused(f"{checked.quoted(sworn.address)} is no address") from None
        return dataclasses.replace(sworn, address=address)

    def to_bytes(self) -> bytes:
        """The answer of a host that refuses an order."""
        return checked.to_bytes({"wire": WIRE, "obeys": self})

    def __str__(self) -> str:
        return f"{self.head} ({self.address})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """Another head that gave orders, how many, and how long ago the first and the last came."""

    head: Name
    cluster: Name
    address: Address
    orders: Count
    first_seconds: Seconds
    last_seconds: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Malformed:
    """Messages from an address that were none, how many, how long ago, and what was wrong with the last."""

    address: Address
    messages: Count
    first_seconds: Seconds
    last_seconds: Seconds
    reason: Sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A step of a supervisor that failed by its own programs' fault: which, how, how often, how long ago the last."""

    step: Sentence
    """For people alone: odd words in it must never have a host's whole report refused."""
    error: Sentence
    times: Count
    last_seconds: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a host says about a life that ended, before it ends what is left of it; lines stand with their times."""

    life: Life
    ended: Mapping[Part, PartState]
    kernel: Lines = ()
    out_of_memory: Annotated[tuple[Line, ...], AtMost(MOST_LINES)] = ()
    telling: Mapping[Part, Lines] = field(default_factory=dict)
    logs: Mapping[Part, Lines] = field(default_factory=dict)
    memory: Line = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a host stands, under the order that it was last brought to."""

    key: Annotated[str, Form(UNDER, "the key of an order")]
    boot: Word
    """What tells this boot from the next."""
    time: Moment
    """The host's own clock, by which the head sees how far it is off."""
    age: Seconds = 0
    """For how long the supervisor has not got its own work done."""
    described: Annotated[Generation | None, NoneAs(None)] = None
    """The generation that stands in the host's files."""
    kept: Annotated[Generation | None, NoneAs(None)] = None
    """The generation that could be put back."""
    kept_for: Annotated[Membership | None, NoneAs(None)] = None
    """The membership that it served under."""
    lives: Annotated[tuple[Text, ...], AtMost(MOST_LIVES)] = ()
    """Lives whose processes are there. Any process can wear the mark, so these are texts."""
    idle: bool
    """Whether no rank is left, and every unit is down."""
    started: Started
    parts: Mapping[Part, PartState]
    available_gib: Annotated[float, Between(0, 10**6)]
    needs: Annotated[tuple[Sentence, ...], AtMost(MOST_NEEDS)] = ()
    """What a rank would lack there now."""
    leaving: bool = False
    """Whether the host, or its supervisor, is to stop."""
    foreign: Annotated[tuple[Foreign, ...], AtMost(MOST_SENDERS)] = ()
    malformed: Annotated[tuple[Malformed, ...], AtMost(MOST_SENDERS)] = ()
    faults: Annotated[tuple[Fault, ...], AtMost(MOST_FAULTS)] = ()
    evidence: Annotated[Evidence | None, NoneAs(None)] = None

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read it, or raise Refused."""
        document, newer = _versioned(body, LONGEST_REPORT)
        document.pop("wire", None)
        return checked.read(cls, document, newer=newer)

    def to_bytes(self) -> bytes:
        """The report as it travels."""
        return checked.to_bytes({"wire": WIRE, **checked.plain(self)})


@dataclass(frozen=True, slots=True)
class Seal:
    """What proves who sent a message: a nonce that is used once, and a code over all that Envelope.covered holds."""

    nonce: str
    code: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read it, or raise Refused."""
        if (parts := SEAL.fullmatch(text)) is None:
            raise Refused(f"{checked.quoted(text)} is no seal")
        return cls(parts["nonce"], parts["code"])

    def __str__(self) -> str:
        return f"{self.nonce} {self.code}"


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message as bytes, with its seal where the sender has set one; nobody demands one yet."""

    body: bytes
    seal: Seal | None = None

    def covered(self, direction: Direction, host: str, life: Life | None, nonce: str) -> bytes:
        """What a seal speaks for: an order cannot be played back as a report, to another host or in another life."""
        return "\0".join((str(WIRE), direction, host, str(life or ""), nonce, "")).encode() + self.body


def _versioned(body: bytes, longest: int) -> tuple[dict[str, Any], bool]:
    """A message as plain JSON, and whether a newer version wrote it."""
    document = checked.parse(body, longest)
    version = document.get("wire", 0)
    if type(version) is not int or not 0 <= version <= NEWEST:
        raise Refused(f"wire is {checked.quoted(version)}, not a version")
    return document, version > WIRE

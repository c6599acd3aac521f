"""JSON that comes from outside as checked types: bounded in bytes, depth and count, and refused with a sentence.

A type is a dataclass whose annotations carry their bounds, so that what is read, what is written and what mypy knows
are one declaration:

    port: Annotated[int, Between(1, 65535)]
    name: Annotated[str, Form(NAME, "a name")]
    reason: Annotated[str, Free(300)]

A class with SPELLED is written as one text, which its `parse` reads and its `str` is.

What decides something (names, numbers, words of a choice) is refused where it is not of its form. Free text is cleaned
and cut instead: it is only shown, and a line of some log must not silence the host that quotes it.

In one file because what is read and what is written of a type must stay each other's mirror.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, TypeVar, Union, cast, get_args, get_origin, get_type_hints

DEEPEST, MOST_VALUES = 12, 20_000
QUOTED_LETTERS = 40
"""Of a value that is refused, so many letters are quoted."""
STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
"""A string, also one that does not end: one pass over the bytes, whatever they are."""
NO_BRACKET = re.compile(rb"[^\[\]{}]+")
T = TypeVar("T")


class Refused(ValueError):
    """A value that is not what it should be; the text is a sentence without its full stop."""


@dataclass(frozen=True, slots=True)
class Form:
    """A text that must be of a form as a whole."""

    pattern: re.Pattern[str]
    what: str


@dataclass(frozen=True, slots=True)
class Free:
    """A text that is only shown: cleaned, and cut to so many letters."""

    longest: int


@dataclass(frozen=True, slots=True)
class Between:
    """A number with both bounds."""

    least: float
    most: float


@dataclass(frozen=True, slots=True)
class AtMost:
    """A list or an object of so many entries."""

    count: int


@dataclass(frozen=True, slots=True)
class As:
    """The name under which a field is written, where that is not its own."""

    name: str


@dataclass(frozen=True, slots=True)
class NoneAs:
    """How a field is written that has no value; without this it is left out."""

    written: str | None


def clean(text: str, longest: int) -> str:
    """A text that can be shown on a terminal and put into one line of anything: no control, no line's end."""
    text = text[:longest]
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else " " if letter.isspace() else "\ufffd" for letter in text)


def quoted(value: object) -> str:
    """A refused value as a sentence may show it."""
    text = clean(value, QUOTED_LETTERS) if isinstance(value, str) else type(value).__name__
    return f"`{text}`" if isinstance(value, str) else text


def parse(body: bytes, longest: int, most: int = MOST_VALUES) -> dict[str, Any]:
    """One JSON object of at most so many bytes and values and DEEPEST levels, in which no key stands twice."""
    if len(body) > longest:
        raise Refused(f"{len(body)} bytes, at most {longest} are read")
    structure = STRING.sub(b"", body)
    brackets, depth = NO_BRACKET.sub(b"", structure), 0
    if len(brackets) + structure.count(b",") > most:
        raise Refused(f"more than {most} values")
    for bracket in brackets:
        depth += 1 if bracket in b"[{" else -1
        if depth > DEEPEST:
            raise Refused(f"nested deeper than {DEEPEST} levels")
    try:
        document = json.loads(body.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
    except Refused:
        raise
    except (ValueError, RecursionError):
        raise Refused("no JSON") from None
    if not isinstance(document, dict):
        raise Refused("no object")
    return document


def read(kind: type[T], value: object, *, newer: bool = False, where: str = "") -> T:
    """A value of a type from plain JSON, or Refused.

    An unknown key is refused, but ignored in what a newer version wrote: see `wire`.
    """
    return cast(T, _object(kind, value, where, newer))


def salvage(kind: type[T], value: object) -> tuple[T, list[str]]:
    """As much of a state as can be read, and sentences about the rest, which is as if it had not been written."""
    if not isinstance(value, dict):
        return kind(), [f"{quoted(value)} where an object should stand"]
    kept: dict[str, Any] = {}
    lost = []
    for field in _fields(cast(Any, kind)):
        if field.written in value:
            try:
                kept[field.name] = field.read(value[field.written], field.written, True)
            except Refused as refused:
                lost.append(str(refused))
    return kind(**kept), lost


def plain(value: object) -> Any:
    """A value as JSON's own types, as `read` reads it."""
    if isinstance(value, str | int | float | None):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if hasattr(type(value), "SPELLED"):
        return str(value)
    document = {}
    for field in _fields(cast(Any, type(value))):
        entry = getattr(value, field.name)
        if entry is not None:
            document[field.written] = plain(entry)
        elif field.absent is not None:
            document[field.written] = field.absent.written
    return document


def to_bytes(document: object) -> bytes:
    """JSON as it travels and stands on disk."""
    text = json.dumps(plain(document), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode(errors="replace")  # A name of a file, in an error's words, may hold half a character.


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise Refused("a key stands twice")
    return document


def _no_constant(word: str) -> None:
    raise Refused(f"{word} is no number")


class Reader(Protocol):
    """Reads a value that stands somewhere; made once for a type, as a report is read every second."""

    def __call__(self, value: Any, where: str, newer: bool, /) -> Any:
        """The value as its type, or Refused."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    written: str
    read: Reader
    required: bool
    absent: NoneAs | None


@functools.cache
def _fields(kind: Any) -> tuple[_Field, ...]:
    hints = get_type_hints(kind, include_extras=True)
    fields = []
    for field in dataclasses.fields(kind):
        rules = get_args(hints[field.name])[1:] if get_origin(hints[field.name]) is Annotated else ()
        written = next((rule.name for rule in rules if isinstance(rule, As)), field.name)
        absent = next((rule for rule in rules if isinstance(rule, NoneAs)), None)
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        fields.append(_Field(field.name, written, _reader(hints[field.name]), required, absent))
    return tuple(fields)


@functools.cache
def _reader(hint: Any) -> Reader:  # noqa: PLR0911 - one for each kind of type
    rules: tuple[Any, ...] = ()
    if get_origin(hint) is Annotated:
        hint, *rest = get_args(hint)
        rules = tuple(rest)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        (kind,) = (argument for argument in arguments if argument is not type(None))
        return _optional(_reader(Annotated[(kind, *rules)] if rules else kind), hasattr(kind, "SPELLED"))
    if origin is Literal:
        return _choice(arguments)
    if origin is tuple:
        return _list(arguments[0], rules) if arguments[-1] is Ellipsis else _pair(arguments)
    if origin is not None:
        return _mapping(arguments, rules)
    if hasattr(hint, "SPELLED"):
        return lambda value, where, newer: hint.parse(_text((), value, where, newer))
    if hint in PLAIN:
        return functools.partial(PLAIN[hint], rules)
    return functools.partial(_object, hint)


def _optional(inner: Reader, spelled: bool) -> Reader:
    def reader(value: Any, where: str, newer: bool) -> Any:
        # Before messages had a version, no life was written as an empty text, and state on disk still is.
        return None if value is None or (spelled and value == "") else inner(value, where, newer)

    return reader


def _choice(words: tuple[str, ...]) -> Reader:
    def reader(value: Any, where: str, newer: bool) -> Any:
        if type(value) is str and value in words:
            return value
        raise Refused(f"{where} is {quoted(value)}, not one of {', '.join(words)}")

    return reader


def _list(hint: Any, rules: tuple[Any, ...]) -> Reader:
    inner = _reader(hint)

    def reader(value: Any, where: str, newer: bool) -> Any:
        return tuple([inner(entry, where, newer) for entry in _many(list, rules, value, where)])

    return reader


def _pair(hints: tuple[Any, ...]) -> Reader:
    inner = [_reader(hint) for hint in hints]

    def reader(value: Any, where: str, newer: bool) -> Any:
        if len(_many(list, (), value, where)) != len(inner):
            raise Refused(f"{where} has {len(value)} entries, not {len(inner)}")
        return tuple([read(entry, where, newer) for read, entry in zip(inner, value, strict=True)])

    return reader


def _mapping(hints: tuple[Any, ...], rules: tuple[Any, ...]) -> Reader:
    key_of, entry_of = _reader(hints[0]), _reader(hints[1])

    def reader(value: Any, where: str, newer: bool) -> Any:
        entries = _many(dict, rules, value, where).items()
        return {key_of(key, f"a key of {where}", newer): entry_of(entry, where, newer) for key, entry in entries}

    return reader


def _many(kind: Any, rules: tuple[Any, ...], value: Any, where: str) -> Any:
    if not isinstance(value, kind):
        raise Refused(f"{where} is {quoted(value)}, not {'a list' if kind is list else 'an object'}")
    for rule in rules:
        if isinstance(rule, AtMost) and len(value) > rule.count:
            raise Refused(f"{where} has {len(value)} entries, at most {rule.count} are read")
    return value


def _object(kind: Any, value: Any, where: str, newer: bool) -> Any:
    if type(value) is not dict:
        raise Refused(f"{where or 'it'} is {quoted(value)}, not an object")
    prefix = f"{where}." if where else ""
    fields = _fields(kind)
    entries = {}
    for field in fields:
        if field.written in value:
            entries[field.name] = field.read(value[field.written], f"{prefix}{field.written}", newer)
        elif field.required:
            raise Refused(f"{prefix}{field.written} is missing")
    if len(entries) < len(value) and not newer:
        unknown = next(key for key in value if key not in {field.written for field in fields})
        raise Refused(f"{quoted(unknown)} is no key of {where or 'it'}")
    return kind(**entries)


def _text(rules: tuple[Any, ...], value: Any, where: str, _newer: bool) -> str:
    if type(value) is not str:
        raise Refused(f"{where} is {quoted(value)}, not a text")
    for rule in rules:
        if isinstance(rule, Form) and not rule.pattern.fullmatch(value):
            raise Refused(f"{where} is {quoted(value)}, not {rule.what}")
        if isinstance(rule, Free):
            return clean(value, rule.longest)
    return value


def _number(rules: tuple[Any, ...], value: Any, where: str, _newer: bool) -> float:
    try:
        number = float(value) if type(value) in (int, float) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Refused(f"{where} is {quoted(value)}, not a number")
    _hold(rules, number, where)
    return number


def _integer(rules: tuple[Any, ...], value: Any, where: str, _newer: bool) -> int:
    if type(value) is not int:
        raise Refused(f"{where} is {quoted(value)}, not a whole number")
    _hold(rules, value, where)
    return value


def _flag(_rules: tuple[Any, ...], value: Any, where: str, _newer: bool) -> bool:
    if type(value) is not bool:
        raise Refused(f"{where} is {quoted(value)}, not true or false")
    return value


def _hold(rules: tuple[Any, ...], number: float, where: str) -> None:
    for rule in rules:
        if isinstance(rule, Between) and not rule.least <= number <= rule.most:
            raise Refused(f"{where} is not between {rule.least:g} and {rule.most:g}")


PLAIN: dict[Any, Any] = {str: _text, float: _number, int: _integer, bool: _flag}

"""Turn the text of a flag's value into the value vLLM would see; what it would refuse is a ValueError with a rule."""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from math import isfinite
from typing import Any

from .catalogue import Fields, Flag

DECIMAL = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
BINARY = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def human_int(text: str) -> int:
    """An integer as vLLM reads it: `8192`, `8k` (8000), `8K` (8192), `25.6k`."""
    stripped = text.strip()
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)([kKmMgGtT])", stripped):
        number, suffix = match.groups()
        if suffix in DECIMAL:
            return int(float(number) * DECIMAL[suffix])
        if "." in number:
            raise ValueError(f"a fraction needs a decimal suffix, so {number}{suffix.lower()}, not {number}{suffix}")
        return int(number) * BINARY[suffix]
    try:
        return int(stripped)
    except ValueError:
        raise ValueError("it must be a whole number, such as 8192 or 8k") from None


def with_plain_numbers(text: str) -> str:
    """JSON with `80g` and the like outside strings written out, which vLLM allows in its configurations."""
    parts = re.split(r'("(?:[^"\\]|\\.)*")', text)
    parts[::2] = [re.sub(r"\b\d+(?:\.\d+)?[kKmMgGtT]\b", lambda m: str(human_int(m.group())), p) for p in parts[::2]]
    return "".join(parts)


def convert(flag: Flag, text: str) -> Any:  # noqa: ANN401 - a value of JSON can be anything
    """The value of a flag; raises ValueError with the rule that the text breaks."""
    if flag.optional and text in {"", "None"}:
        return None
    value = _typed(flag, text)
    if flag.choices and str(value) not in flag.choices:
        near = closest(str(value), flag.choices)
        hint = f"; did you mean {near}?" if near else ""
        raise ValueError(f"it must be one of {', '.join(flag.choices)}{hint}")
    return value


def closest(word: str, known: Any) -> str | None:  # noqa: ANN401 - any collection of words
    """The known word that somebody probably meant."""
    lowered = {name.lower(): name for name in sorted(known)}
    found = get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    return lowered[found[0]] if found else None


def _typed(flag: Flag, text: str) -> Any:  # noqa: ANN401, PLR0911 - one return per type reads as a table
    match flag.type:
        case "int":
            return _number(int, text, "a whole number")
        case "float":
            return _number(float, text, "a number")
        case "human_int":
            return human_int(text)
        case "human_int_or_auto":
            return -1 if text.strip() == "-1" or text.strip().lower() == "auto" else human_int(text)
        case "json":
            return _json(text, flag.fields)
        case "config":
            return _json(with_plain_numbers(text), flag.fields or {})
        case "json_or_str":
            return _json(text, None) if re.match(r"(?s)^\s*{.*}\s*$", text) else text
        case "backend_name":
            return text.lower().replace("-", "_")
        case _:
            return text


def _number(kind: type[int] | type[float], text: str, meaning: str) -> int | float:
    try:
        number = kind(text)
    except ValueError:
        raise ValueError(f"it must be {meaning}") from None
    if not isfinite(number):  # every comparison with NaN is false, so no ceiling would hold it
        raise ValueError(f"it must be {meaning}")
    return number


def _json(text: str, fields: Fields | None) -> Any:  # noqa: ANN401
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"it must be JSON: {error}") from None
    if fields is not None:
        if not isinstance(value, dict):
            raise ValueError("it must be a JSON mapping")
        _check_keys(value, fields, "")
    return value


def _check_keys(value: dict[str, Any], fields: Fields, above: str) -> None:
    for key, inner in value.items():
        if key not in fields:
            near = closest(key, fields)
            hint = f"; did you mean {above}{near}?" if near else f"; it has {', '.join(fields)}"
            raise ValueError(f"it has no key {above}{key}{hint}")
        below = fields[key]
        if below is not None and isinstance(inner, dict):
            _check_keys(inner, below, f"{above}{key}.")

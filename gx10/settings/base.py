"""The base of every settings model: frozen, and closed to keys it does not know."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ConfigDict, field_validator


class Settings(BaseModel):
    """A part of a description. Unknown keys are refused, values never change after loading."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    @field_validator("*", mode="after")
    @classmethod
    def _without_controls(cls, value: object) -> object:
        """No text holds a character that is none: it would command a terminal, or end a line of a unit or a file."""
        if any(holds_control(text.replace("\n", " ").replace("\t", " ")) for text in _texts(value)):
            raise ValueError("it holds a control character, or half a character")
        return value


def holds_control(text: str) -> bool:
    """Whether a text has a character that is no letter of one line: a control, a line's end, half a character."""
    return any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in text)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _texts(key)
            yield from _texts(entry)
    elif isinstance(value, list | tuple | set | frozenset):
        for entry in value:
            yield from _texts(entry)

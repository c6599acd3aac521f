"""Text from outside, as it may stand in reports, logs and on a terminal."""

from __future__ import annotations


def printable(value: object) -> str:
    """The text of a value with everything escaped that is no character, or would command a terminal."""
    text = str(value).encode("utf-8", "backslashreplace").decode()
    return "".join(
        character if character.isprintable() or character in "\n\t" else character.encode("unicode_escape").decode()
        for character in text
    )

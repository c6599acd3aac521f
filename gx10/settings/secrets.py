"""Tell a secret that stands where everybody can read it; it is refused, and never repeated in a message."""

from __future__ import annotations

import re

NAME = re.compile(
    r"(?:^|[_-])(?:token|password|passwd|secret|credentials?|api[_-]?key|access[_-]?key|private[_-]?key)(?:$|[_-])",
    re.IGNORECASE,
)
#: Names that end so hold the place of a secret, not the secret.
PLACE = re.compile(r"(?:_|-)(?:path|file|dir)$", re.IGNORECASE)
#: Tokens of Hugging Face, NVIDIA, OpenAI and GitHub, by their published prefixes.
VALUE = re.compile(r"\b(?:hf_[A-Za-z0-9]{16,}|nvapi-[\w-]{16,}|sk-[\w-]{16,}|gh[pousr]_[A-Za-z0-9]{20,})")

#: What stands in a message instead of a secret.
HIDDEN = "a value that is not shown here, because it looks like a secret"


def names_secret(name: str) -> bool:
    """Whether a key or variable of this name holds a secret itself."""
    return bool(NAME.search(name)) and not PLACE.search(name)


def holds_secret(text: str) -> bool:
    """Whether a text contains a token of a known kind."""
    return bool(VALUE.search(text))


def shown(key: str, value: object, longest: int = 100) -> str:
    """A value for a message: shortened, and hidden where key or value say that it is secret."""
    text = repr(value)
    if names_secret(key.rpartition(".")[2]) or holds_secret(text):
        return HIDDEN
    return text if len(text) <= longest else f"{text[: longest - 1]}…"

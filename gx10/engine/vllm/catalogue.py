"""What one version of vLLM accepts, from the packaged snapshot that `snapshot.py` wrote."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal

#: The vLLM whose command line recipes are held against.
VLLM_VERSION = "0.22.1"

Kind = Literal["help", "value", "true", "bool", "append"]
#: Keys of a configuration given as JSON; a key that is a configuration itself maps to its own keys.
Fields = Mapping[str, "Fields | None"]


@dataclass(frozen=True)
class Flag:
    """One argument of `vllm serve`."""

    dest: str
    """The name vLLM keeps it under, and the guards ask for it by."""
    spellings: tuple[str, ...]
    """How it is written, with dashes; none for the positional model."""
    kind: Kind
    """Whether it takes a value, is given bare, has a `--no-` form, or may be repeated."""
    type: str = "str"
    """Type of the value: `int`, `float`, `str`, `human_int`, `json`, `config` and the like."""
    optional: bool = False
    """Whether the word `None` is a value."""
    choices: tuple[str, ...] = ()
    """The values there are; empty where the parser takes any."""
    nargs: str | None = None
    """`+` where several words follow, `?` where the value may be left out."""
    fields: Fields | None = field(default=None, hash=False)
    """Keys of a JSON value, where vLLM knows them."""

    @property
    def name(self) -> str:
        """The spelling for people: the first long one."""
        return next((s for s in self.spellings if s.startswith("--")), self.dest)


@dataclass(frozen=True)
class Catalogue:
    """Flags, parsers, backends and environment variables of one vLLM."""

    vllm: str
    flags: tuple[Flag, ...]
    names: Mapping[str, frozenset[str]]
    """Sets of names by kind: `reasoning_parsers`, `tool_parsers`, `speculative_methods`, `environment` and so on."""

    def with_flags(self, added: Iterable[Flag]) -> Catalogue:
        """The same vLLM with the flags that mods add."""
        return replace(self, flags=(*self.flags, *added))

    def spellings(self) -> dict[str, Flag]:
        """Every spelling with the flag it stands for."""
        return {spelling: flag for flag in self.flags for spelling in flag.spellings}


@cache
def catalogue() -> Catalogue:
    """The packaged snapshot of `VLLM_VERSION`."""
    source = files(__package__) / f"vllm-serve-flags-{VLLM_VERSION}.json"
    facts: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    flags = tuple(_flag(entry) for entry in facts.pop("flags"))
    version = facts.pop("vllm")
    return Catalogue(version, flags, MappingProxyType({kind: frozenset(names) for kind, names in facts.items()}))


def _flag(entry: dict[str, Any]) -> Flag:
    several: dict[str, Any] = {key: tuple(entry[key]) for key in ("spellings", "choices") if key in entry}
    return Flag(**(entry | several))

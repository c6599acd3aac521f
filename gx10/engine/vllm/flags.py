"""Parse `vllm serve …` into flags in every spelling vLLM's own parser takes, and name what it would refuse.

The words go through argparse, as they do in vLLM, so that abbreviations, `nargs` and joined short forms come out the
same. Values are converted here instead, so that one run names every mistake and not the first.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import prod
from types import MappingProxyType
from typing import Any, NoReturn

from .catalogue import Catalogue, Flag
from .mods import mod_that_adds
from .spelling import normalised, option_name
from .values import closest, convert

#: What `vllm serve` starts with when it is run from a recipe.
PROGRAM = ("vllm", "serve")

#: Flags whose product is the number of GPUs that a command needs.
PARALLEL_SIZES = (
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "prefill_context_parallel_size",
    "data_parallel_size",
)


@dataclass(frozen=True)
class Issue:
    """A word of the command line that vLLM would refuse, or that says nothing."""

    dest: str
    """The flag's destination, or empty where the word belongs to no known flag."""
    found: str
    """The words in question."""
    rule: str
    """The rule they break."""
    remedy: str
    """What to write instead."""
    spellings: tuple[str, ...] = ()
    """How the flag may be written, where it is known."""


@dataclass(frozen=True)
class Given:
    """One flag as it was given."""

    flag: Flag
    value: Any
    """The value as vLLM would see it."""
    text: str
    """The value as it was written."""

    def __str__(self) -> str:
        return f"{self.flag.name} {self.text}".rstrip()


@dataclass(frozen=True)
class Command:
    """A parsed `vllm serve` command: the model and the flags by destination."""

    model: str | None
    flags: Mapping[str, Given]
    issues: tuple[Issue, ...] = ()
    names: Mapping[str, frozenset[str]] = field(default_factory=dict, repr=False)
    """Names this vLLM knows, by kind, for the guards."""

    def __contains__(self, dest: str) -> bool:
        return dest in self.flags

    def faulty(self, *dests: str) -> bool:
        """Whether one of these flags was given in a way that says nothing about its value."""
        return any(issue.dest in dests for issue in self.issues if issue.dest not in self.flags)

    def value(self, dest: str, default: Any = None) -> Any:  # noqa: ANN401 - flags hold values of every type
        """The value of a flag, or the default where it was not given."""
        given = self.flags.get(dest)
        return default if given is None else given.value

    def shown(self, dest: str) -> str:
        """The flag with its value as written, for a sentence."""
        given = self.flags.get(dest)
        return f"no --{dest.replace('_', '-')}" if given is None else str(given)

    def nested(self, dest: str, key: str) -> Any:  # noqa: ANN401
        """A key of a flag that holds JSON; none where either is missing."""
        value = self.value(dest)
        return value.get(key) if isinstance(value, dict) else None

    @property
    def speculative(self) -> dict[str, Any]:
        """The speculative configuration, from `--speculative-config` and its short forms; empty where there is none."""
        configuration = dict(self.value("speculative_config") or {})
        short = {"method": "spec_method", "model": "spec_model", "num_speculative_tokens": "spec_tokens"}
        return configuration | {key: self.value(dest) for key, dest in short.items() if dest in self}

    @property
    def world_size(self) -> int:
        """GPUs that the command needs: the product of its parallel sizes."""
        return prod(int(self.value(dest, 1)) for dest in PARALLEL_SIZES)


def parse(argv: Sequence[str], catalogue: Catalogue) -> Command:
    """Parse a whole command line that begins with `vllm serve`."""
    if tuple(argv[:2]) != PROGRAM:
        shown = " ".join(argv[:2]) or "nothing"
        issue = Issue("", shown, "the command must begin with vllm serve", "Begin it with `vllm serve {model_path}`.")
        return Command(None, {}, (issue,), catalogue.names)
    parsing = _Parsing(catalogue)
    parsing.run(normalised(argv[2:]))
    flags = {dest: given for dest, given in parsing.given.items() if dest != "model_tag"}
    model = parsing.given.get("model_tag")
    return Command(model.text if model else None, MappingProxyType(flags), tuple(parsing.issues), catalogue.names)


class _RefusedError(Exception):
    """Argparse could not go on."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _RefusedError(message)


@cache
def _parser(flags: tuple[Flag, ...]) -> _Parser:
    """Argparse as vLLM sets it up, made once: hundreds of arguments, for each command of each rung."""
    parser = _Parser(add_help=False, exit_on_error=False, prog="vllm serve")
    for flag in flags:
        parser.add_argument(*(flag.spellings or (flag.dest,)), action=_recorder(flag), nargs=_nargs(flag))
    return parser


class _Parsing:
    """One pass over a command line, which collects flags and issues."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.given: dict[str, Given] = {}
        self.issues: list[Issue] = []
        self._known = catalogue.spellings()
        self._parser = _parser(catalogue.flags)

    def run(self, words: list[str]) -> None:
        """Parse; a word that argparse cannot get past is reported and left out, and the rest is parsed."""
        for word in [word for word in words if self._is_ambiguous(word)]:
            words = _without(words, word)
        while True:
            self.given.clear()
            reported = len(self.issues)
            try:
                _, extra = self._parser.parse_known_args(words, argparse.Namespace(parsing=self))
            except (argparse.ArgumentError, _RefusedError) as error:
                del self.issues[reported:]
                bad = self._word_of(error, words)
                rule = f"vLLM refuses it: {getattr(error, 'message', error)}"
                self._note(self._meant(bad), bad or "the command", rule, "Write the flag as vLLM takes it.")
                if not bad:
                    return
                words = _without(words, bad)
            else:
                self._report_extra(extra)
                return

    def take(self, flag: Flag, spelling: str, words: list[str]) -> None:
        """Note one flag as argparse found it."""
        text = " ".join(words)
        if flag.kind == "help":
            self._note(flag, spelling, "it prints help and serves nothing", "Remove it.")
            return
        if flag.dest == "config":
            rule = "its values would stand outside the recipe, unseen by every check"
            self._note(flag, f"{spelling} {text}", rule, "Write the flags of that file into the command.")
            return
        before: tuple[Any, ...] = ()
        if flag.kind == "append" and flag.dest in self.given:
            before, text = self.given[flag.dest].value, f"{self.given[flag.dest].text} {text}"
        elif flag.dest in self.given:
            rule = "a flag is given once, because vLLM silently keeps the last value"
            self._note(flag, f"{self.given[flag.dest]} and {spelling} {text}".rstrip(), rule, "Keep one of them.")
        try:
            value = before + _value(flag, spelling, words) if before else _value(flag, spelling, words)
        except ValueError as error:
            self._note(flag, f"{flag.name} {text}", str(error), "Write a value that vLLM takes.")
            return
        shown = "" if flag.kind in {"true", "bool"} and value else text
        self.given[flag.dest] = Given(flag, value, shown or ("" if value else "false"))

    def _is_ambiguous(self, word: str) -> bool:
        name = option_name(word)
        if not name.startswith("--") or name in self._known:
            return False
        meant = [spelling for spelling in self._known if spelling.startswith(name)]
        if len(meant) > 1 and name != "--":
            self.issues.append(
                Issue("", word, f"it could mean {', '.join(meant[:6])}", "Write the flag out, in full length.")
            )
            return True
        return False

    def _note(self, flag: Flag | None, found: str, rule: str, remedy: str) -> None:
        self.issues.append(Issue(flag.dest if flag else "", found, rule, remedy, flag.spellings if flag else ()))

    def _meant(self, word: str) -> Flag | None:
        name = option_name(word)
        return next((flag for spelling, flag in self._known.items() if name and spelling.startswith(name)), None)

    def _word_of(self, error: Exception, words: Sequence[str]) -> str:
        """The word an argparse error is about: it names the option with all its spellings."""
        named = (getattr(error, "argument_name", None) or "").split("/")
        return next(
            (w for w in words if any(s.startswith(option_name(w)) for s in named if s and w.startswith("-"))), ""
        )

    def _report_extra(self, extra: Sequence[str]) -> None:
        after_option = False
        for word in extra:
            if word.startswith("-") and not word.lstrip("-").replace(".", "", 1).isdigit():
                self.issues.append(self._unknown(option_name(word)))
                after_option = "=" not in word
            elif not after_option:
                remedy = "Quote it together with the word before it, or remove it."
                self.issues.append(Issue("", word, "it belongs to no flag", remedy))

    def _unknown(self, name: str) -> Issue:
        if mod := mod_that_adds(name):
            rule = f"only the mod {mod} teaches vLLM this flag, and the recipe does not list that mod"
            return Issue("", name, rule, f"Add `{mod}` under mods, or remove the flag.")
        near = closest(name, self._known)
        remedy = f"Did you mean {near}?" if near else "Remove it; `vllm serve --help=all` lists the flags there are."
        return Issue("", name, "vLLM has no such flag", remedy)


def _without(words: Sequence[str], bad: str) -> list[str]:
    """The words without an option that was reported, and without the values that follow it."""
    kept: list[str] = []
    dropping = False
    for word in words:
        dropping = word == bad or (dropping and not word.startswith("-"))
        if not dropping:
            kept.append(word)
    return kept


def _nargs(flag: Flag) -> str | int | None:
    return 0 if flag.kind in {"help", "true", "bool"} else flag.nargs


def _value(flag: Flag, spelling: str, words: list[str]) -> Any:  # noqa: ANN401
    if flag.kind == "bool":
        return not spelling.startswith("--no-")
    if flag.kind == "true":
        return True
    if flag.nargs == "+" or flag.kind == "append":
        return tuple(convert(flag, word) for word in words)
    return convert(flag, words[0]) if words else True


def _recorder(flag: Flag) -> type[argparse.Action]:
    """An argparse action that has the pass under way note the flag, instead of converting it."""

    class Record(argparse.Action):
        def __call__(
            self,
            parser: argparse.ArgumentParser,
            namespace: argparse.Namespace,
            values: str | Sequence[Any] | None,
            option_string: str | None = None,
        ) -> None:
            if values is None and not flag.spellings:
                return  # the positional model is optional, and was not given
            words = [] if values is None else [values] if isinstance(values, str) else [str(value) for value in values]
            namespace.parsing.take(flag, option_string or flag.dest, words)

    return Record

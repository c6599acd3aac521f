"""Recipe and values to the exact command line and environment: one `str.format`, then words as a shell would split."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter

from gx10.settings.base import holds_control
from gx10.settings.problems import Problem
from gx10.settings.recipe import Recipe, Scalar
from gx10.settings.secrets import shown

#: The engine never asks a hub: weights are on every host before it starts, and a host may have no way out.
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}

#: Placeholders this package fills in itself: the directory of the weights inside the containers.
BUILT_IN = ("model_path",)

#: Words that end a command in a shell, and words that a shell would replace.
SHELL_OPERATOR = re.compile(r"^(?:&&|\|\|?|;|&|[<>]{1,2}.*|2>.*)$")
SHELL_EXPANSION = re.compile(r";$|\$[A-Za-z_({]|`|^~/")


@dataclass(frozen=True)
class Rendered:
    """A rendered command: the words, and for each word the placeholders that its text came from."""

    argv: tuple[str, ...]
    placeholders: tuple[tuple[str, ...], ...]


def render(recipe: Recipe, file: str, values: Mapping[str, Scalar], problems: list[Problem]) -> Rendered | None:
    """Render a recipe's command; notes what is wrong and returns nothing where there is then no command.

    `values` come before the recipe's `defaults`; the names in `BUILT_IN` need not be used.
    """
    template = joined_lines(recipe.command)
    known = {**recipe.defaults, **values}
    noted = len(problems)
    names = _placeholders(template, file, known, problems)
    complete = len(problems) == noted
    problems.extend(_unused(file, known, names))
    if not complete:
        return None
    words = _words(template.format(**known), file, problems)
    if words is None:
        return None
    pattern = _words(_shielded(template), file, problems) or []
    if len(pattern) != len(words):
        problems.extend(_split_values(file, known, names))
        return None
    problems.extend(_control_problems(words, file))
    problems.extend(_shell_problems(words, file))
    # What follows an operator is another command: reported once, not again as words that vLLM does not know.
    end = next((index for index, word in enumerate(words) if SHELL_OPERATOR.search(word)), len(words))
    return Rendered(tuple(words[:end]), tuple(_names_in(word) for word in pattern[:end]))


def environment(recipe: Recipe) -> dict[str, str]:
    """Environment of the engine in the order it is handed over: offline, the recipe's own, what this package adds."""
    return {**OFFLINE, **recipe.env, **recipe.gx10.environment}


def joined_lines(command: str) -> str:
    """The command with continued lines joined, as a shell reads them."""
    return re.sub(r"\\[ \t]*\n", " ", command)


def _unused(file: str, known: Mapping[str, Scalar], names: set[str]) -> list[Problem]:
    rule = "the command has no such placeholder, so the value changes nothing"
    return [
        Problem(
            file,
            f"defaults.{name}",
            shown(name, known[name]),
            rule,
            f"Write {{{name}}} into the command where the value belongs, or remove the key.",
        )
        for name in sorted(known.keys() - names - set(BUILT_IN))
    ]


def _split_values(file: str, known: Mapping[str, Scalar], names: set[str]) -> list[Problem]:
    rule = "the value must stay one word of the command"
    return [
        Problem(
            file,
            f"defaults.{name}",
            shown(name, known[name]),
            rule,
            f"Write a value without spaces or quotes, or put single quotes around {{{name}}} in the command.",
        )
        for name in sorted(names)
        if len(_words(str(known[name]), file, []) or ()) != 1
    ]


def _placeholders(template: str, file: str, known: Mapping[str, Scalar], problems: list[Problem]) -> set[str]:
    """Names that the template asks for; notes those without a value."""
    try:
        fields = [
            (name, spec, conversion) for _, name, spec, conversion in Formatter().parse(template) if name is not None
        ]
    except ValueError as error:
        remedy = 'Double every brace that is not a placeholder: {{ and }}, as in \'{{"method": "mtp"}}\'.'
        problems.append(Problem(file, "command", "an unbalanced brace", f"it must be one str.format: {error}", remedy))
        return set(known)
    for name, spec, conversion in fields:
        if not name.isidentifier() or spec or conversion:
            written = "{" + name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "") + "}"
            rule = "a placeholder is a plain name"
            remedy = "Double the braces if they belong to JSON; else write a name that stands under defaults."
            problems.append(Problem(file, "command", written[:60], rule, remedy))
        elif name not in known:
            there = ", ".join(sorted({*known, *BUILT_IN}))
            remedy = f"Add {name} under defaults, or use one of: {there}."
            if name in BUILT_IN:
                remedy = "Add gx10.model.path: the directory of the weights below the model root."
            problems.append(Problem(file, "command", f"{{{name}}}", "no value is given for this placeholder", remedy))
        elif known[name] is None:
            problems.append(
                Problem(file, f"defaults.{name}", "null", "the command needs a value here", "Write the value.")
            )
        elif isinstance(known[name], bool):
            rule = "a bare flag has no value that could be filled in"
            remedy = "Write the flag, or its --no- form, into the command itself."
            problems.append(Problem(file, f"defaults.{name}", str(known[name]).lower(), rule, remedy))
    return {re.split(r"[.\[]", name)[0] for name, _, _ in fields}


def _words(text: str, file: str, problems: list[Problem]) -> list[str] | None:
    try:
        return shlex.split(text)
    except ValueError as error:
        rule = f"it must split into words: {str(error).lower()}"
        problems.append(Problem(file, "command", "an open quote", rule, "Close the quote."))
        return None


def _shielded(template: str) -> str:
    """The template with placeholders in a form that survives splitting, to see which word each one fills."""
    return "".join(
        text.replace("{", "").replace("}", "") + ("" if name is None else f"\x00{name}\x00")
        for text, name, _, _ in Formatter().parse(template)
    )


def _names_in(word: str) -> tuple[str, ...]:
    return tuple(word.split("\x00")[1::2])


def _control_problems(words: list[str], file: str) -> list[Problem]:
    return [
        Problem(
            file,
            "command",
            ascii(word)[:60],
            "a word of the command stands in one line of a unit, without a control character",
            "Write the value in one line; JSON needs no line's end.",
        )
        for word in words
        if holds_control(word)
    ]


def _shell_problems(words: list[str], file: str) -> list[Problem]:
    return [
        Problem(
            file,
            "command",
            word[:60],
            "no shell runs the command, so this word would reach vLLM as it is",
            "Write the value itself; one recipe holds one vllm serve command.",
        )
        for word in words
        if SHELL_OPERATOR.search(word) or (SHELL_EXPANSION.search(word) and not word.startswith("{"))
    ]

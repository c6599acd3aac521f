"""Pydantic's findings as problems: one sentence per key, with what the key means and what was probably meant."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from .base import Settings
from .fields import locate
from .problems import Problem
from .replaced import REPLACED
from .secrets import shown
from .source import Tree

Model = TypeVar("Model", bound=Settings)


def validated(model: type[Model], tree: Tree, file: str, problems: list[Problem]) -> Model | None:
    """The model of a tree, or nothing after noting every problem the tree has."""
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        noted: dict[tuple[str, str], Problem] = {}
        for detail in error.errors(include_url=False):
            problem = _problem(model, file, detail)
            # A union reports each of its branches; the first one says enough.
            noted.setdefault((problem.key, "" if detail["type"].endswith("_type") else problem.rule), problem)
        problems.extend(noted.values())
        return None


def _problem(model: type[Settings], file: str, detail: ErrorDetails) -> Problem:
    key, info, holder = locate(model, detail["loc"])
    meaning = _sentence(info.description) if info is not None else ""
    if detail["type"] == "missing":
        return Problem(file, key, "nothing", "this key must be given", f"Add it: {meaning or 'see docs/settings.md.'}")
    found = shown(key, detail["input"])
    if detail["type"] == "extra_forbidden" and key in REPLACED:
        return Problem(file, key, found, "this key was replaced", REPLACED[key])
    if detail["type"] == "extra_forbidden":
        known = list(holder.model_fields) if holder is not None else []
        word = key.rpartition(".")[2]
        near = get_close_matches(word, known, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Remove it; the keys here are: {', '.join(known)}."
        return Problem(file, key, found, "there is no such key", hint)
    rule = detail["msg"].removeprefix("Value error, ").removeprefix("String ")
    rule = rule[:1].lower() + rule[1:]
    expected = f"It is: {meaning}" if meaning else "See docs/settings.md for what fits."
    return Problem(file, key, found, rule, expected)


def _sentence(description: str | None) -> str:
    """The first sentence of a field's description."""
    text = " ".join((description or "").split())
    first, dot, _ = text.partition(". ")
    return first + dot.strip() if dot else text

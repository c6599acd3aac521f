"""The spellings vLLM's own parser takes beside argparse's: underscores, dotted keys, `-O3`.

Follows `vllm/utils/argparse_utils.py` of 0.22.1: what that rewrites before argparse sees it is rewritten here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .values import human_int

OPTIMIZATION_LEVELS = frozenset("0123")


def normalised(argv: Sequence[str]) -> list[str]:
    """The arguments as argparse gets them: dashes in names, `-O` spelled out, dotted keys joined into JSON."""
    return _joined(_dashed(_model_first(argv)))


def option_name(word: str) -> str:
    """The name of an option as written, with dashes and without a value: `--a_b.c_d=1` is `--a-b`."""
    name = word.partition("=")[0]
    if name.startswith("--"):
        return name.partition(".")[0].replace("_", "-")
    return name.partition(".")[0]


def _model_first(argv: Sequence[str]) -> list[str]:
    """`--model X`, which `vllm serve` still takes, moved to where the model belongs."""
    for index, word in enumerate(argv):
        if word == "--model" and index + 1 < len(argv):
            return [argv[index + 1], *argv[:index], *argv[index + 2 :]]
        if word.startswith("--model="):
            return [word.removeprefix("--model="), *argv[:index], *argv[index + 1 :]]
    return list(argv)


def _dashed(argv: Sequence[str]) -> list[str]:
    words: list[str] = []
    for index, word in enumerate(argv):
        following = argv[index + 1] if index + 1 < len(argv) else ""
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            head, dot, keys = name.partition(".")
            words.append(f"{head.replace('_', '-')}{dot}{keys}{equals}{value}")
        elif word == "-O" and following in OPTIMIZATION_LEVELS:
            words.append("--optimization-level")
        elif word.startswith("-O") and word != "-O":
            words += ["--optimization-level", word[2:].removeprefix("=")]
        else:
            words.append(word)
    return words


def _joined(words: Sequence[str]) -> list[str]:
    """Dotted keys of one option become one JSON value at the end, as vLLM does it."""
    plain: list[str] = []
    configurations: dict[str, dict[str, Any]] = {}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if not word.startswith("-") or "." not in name or _is_number(word):
            plain.append(word)
            continue
        text = value if equals else next(rest, None)
        if text is None:
            plain.append(word)  # a dotted key without a value stays, and is reported as one
            continue
        option, *keys = name.removesuffix("+").split(".")
        _put(configurations.setdefault(option, {}), keys, text.split(",") if name.endswith("+") else _scalar(text))
    for option, configuration in configurations.items():
        plain += [option, json.dumps(configuration)]
    return plain


def _put(tree: dict[str, Any], keys: Sequence[str], value: Any) -> None:  # noqa: ANN401 - JSON
    *above, last = keys
    for key in above:
        below = tree.get(key)
        if not isinstance(below, dict):
            tree[key] = below = {}
        tree = below
    there = tree.get(last)
    if isinstance(there, list) and isinstance(value, list):
        there.extend(value)
    elif isinstance(there, dict) and isinstance(value, dict):
        for key, inner in value.items():
            _put(there, [key], inner)
    else:
        tree[last] = value


def _scalar(text: str) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(text)
    except ValueError:
        try:
            return human_int(text)
        except ValueError:
            return text


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True

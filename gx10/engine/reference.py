"""The settings reference, written from the models: `python -m gx10.engine.reference > docs/settings.md`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import PurePath
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from gx10.settings.base import Settings
from gx10.settings.cluster import Cluster
from gx10.settings.fields import fields_below, nested_model
from gx10.settings.image import Image
from gx10.settings.load import PROJECT
from gx10.settings.recipe import Limit, Recipe

from .vllm.mods import MOD_FLAGS

INTRODUCTION = """\
# Settings

Three files describe a cluster. They are read and judged before any host is contacted: an unknown key, a wrong type or a
combination that cannot run is refused with the file, the line, the key and what to write instead, all in one run.

| file | what it describes | example |
| --- | --- | --- |
| `clusters/NAME.yaml` | hosts, networks, paths, policy, and which recipe is served | `clusters/example.yaml` |
| `recipes/NAME.yaml` | one model and the engine that serves it | `recipes/nemotron-3-ultra-nvfp4.yaml` |
| `images/NAME.yaml` | how the engine image is built | `images/vllm-node.yaml` |

`GX10_CLUSTER=NAME` chooses the cluster; without it the lab is meant. In the keys below, `NAME` stands for a name of
your own and `N` for a position in a list. This page is written from the models in `gx10/settings`
(`python -m gx10.engine.reference > docs/settings.md`).
"""

COMMAND = """\
### The command

`command` is filled in once with `str.format`: `{name}` takes the value under `defaults`, and braces of JSON are
doubled. `{model_path}` needs no default: it is the directory of the weights inside the containers,
`container.model_mount` and `gx10.model.path`. The result is split into words as a shell would, and no shell runs it.
Every flag is checked against vLLM 0.22.1 in each spelling vLLM takes (`--a-b`, `--a_b`, `--a=v`, `--a.key v`,
`-cc.mode 0`, `-tp 4`, `--no-a`), with the flags that the recipe's mods add:

"""

FILES: tuple[tuple[str, type[Settings], str], ...] = (
    ("The cluster file", Cluster, "clusters/example.yaml"),
    ("The recipe", Recipe, "recipes/nemotron-3-ultra-nvfp4.yaml"),
    ("The image description", Image, "images/vllm-node.yaml"),
)

HEADER = ("| key | type | default | example | meaning |", "| --- | --- | --- | --- | --- |")

TYPE_NAMES = {
    "Limit": "`value` and `reason`",
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "IPv4Address": "address",
    "IPv4Network": "subnet",
    "Path": "path",
    "PurePosixPath": "path",
}


def reference(mod_flags: dict[str, tuple[str, ...]]) -> str:
    """The whole page; `mod_flags` names the flags that each mod adds, which the engine knows."""
    parts = [INTRODUCTION]
    for title, model, file in FILES:
        example = yaml.safe_load((PROJECT / file).read_text(encoding="utf-8"))
        parts.append(f"## {title}\n\n{_text(model.__doc__)} Examples are from `{file}`.\n")
        parts.extend(_section(model, example))
        if model is Recipe:
            lines = [
                f"| `{mod}` | {', '.join(f'`{flag}`' for flag in flags) or 'none'} |"
                for mod, flags in mod_flags.items()
            ]
            parts.append("\n".join([COMMAND + "| mod | flags it adds |", "| --- | --- |", *lines, ""]))
    return "\n".join(parts)


def _section(model: type[Settings], example: Any) -> Iterator[str]:  # noqa: ANN401 - YAML holds anything
    """One table per part of the file, so that each is a screen at most."""
    tables: dict[str, list[str]] = {"": []}
    texts: dict[str, str] = {}
    for path, info in fields_below(model):
        part, inner, step = path.rpartition(".")[0], *nested_model(info.annotation)
        if part not in tables:
            continue  # below a limit, whose two keys are shown in one row
        if inner is None or inner is Limit:
            tables[part].append(_row(path, info, _find(example, path)))
        else:
            tables[f"{path}{step}"] = []
            texts[f"{path}{step}"] = _text(info.description)
    for part, rows in tables.items():
        if part:
            yield f"### `{part}`\n\n{texts[part]}\n"
        if rows:
            yield "\n".join([*HEADER, *rows, ""])


def _row(path: str, info: FieldInfo, example: Any) -> str:  # noqa: ANN401
    if example is None:
        example = next(iter(info.examples or ()), None)
    shown = "" if example is None else f"`{_value(example)}`"
    cells = [f"`{path.rpartition('.')[2]}`", type_name(info.annotation), _default(info), shown, _text(info.description)]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def type_name(annotation: Any) -> str:  # noqa: ANN401 - annotations are any object; one return per kind
    """A type in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_name(arguments[0])
    if origin is Literal:
        return "one of " + ", ".join(f"`{value}`" for value in arguments)
    if origin in {Union, UnionType}:
        return " or ".join(dict.fromkeys(type_name(part) for part in arguments if part is not NoneType))
    if origin is dict:
        return f"mapping of names to {type_name(arguments[1])}"
    if origin is tuple:
        return f"list of {type_name(arguments[0])}"
    name = getattr(annotation, "__name__", str(annotation))
    return TYPE_NAMES.get(name, name)


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True, validated_data={})
    if value is None or value is PydanticUndefined or value in ({}, (), ""):
        return "none"
    return f"`{_value(value)}`"


def _value(value: Any) -> str:  # noqa: ANN401
    """A value on one line, as it is written in YAML, short enough for a table."""
    text = json.dumps(_plain(value), ensure_ascii=False)
    text = text[1:-1] if isinstance(value, str | PurePath) else text
    text = " ".join(text.replace("\\n", " ").replace('\\"', '"').split())
    return text if len(text) <= 64 else f"{text[:63]}…"


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return (
        value
        if isinstance(value, str | int | float | bool | None)
        else str(value.value if isinstance(value, Enum) else value)
    )


def _find(tree: Any, path: str) -> Any:  # noqa: ANN401
    """The example's value for a key; the first name or position stands for all."""
    for step in path.split("."):
        if isinstance(tree, dict):
            tree = next(iter(tree.values()), None) if step == "NAME" else tree.get(step)
        elif isinstance(tree, list):
            tree = tree[0] if tree and step == "N" else None
        else:
            return None
    return tree


def _text(description: str | None) -> str:
    return " ".join((description or "").split())


if __name__ == "__main__":
    sys.stdout.write(reference({mod: tuple(flag.name for flag in flags) for mod, flags in MOD_FLAGS.items()}))

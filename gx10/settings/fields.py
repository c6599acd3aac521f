"""Walk a settings model by the path of a key: what stands there, what it means, which keys there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from .base import Settings


def fields_below(model: type[Settings], above: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key of a model with its dotted path, depth first; `NAME` and `N` stand for names and positions."""
    for name, info in model.model_fields.items():
        path = f"{above}{name}"
        yield path, info
        inner, step = nested_model(info.annotation)
        if inner is not None:
            yield from fields_below(inner, f"{path}{step}.")


def nested_model(annotation: Any) -> tuple[type[Settings] | None, str]:  # noqa: ANN401 - annotations are any object
    """The settings model inside an annotation, and the step that leads to it: nothing, `.NAME` or `.N`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and origin is None:
        return (annotation, "") if issubclass(annotation, Settings) else (None, "")
    if origin is Annotated:
        return nested_model(arguments[0])
    if origin in {Union, UnionType}:
        return next((found for found in map(nested_model, arguments) if found[0]), (None, ""))
    if origin is dict:
        return nested_model(arguments[1])[0], ".NAME"
    if origin is tuple:
        return nested_model(arguments[0])[0], ".N"
    return None, ""


def locate(model: type[Settings], path: Sequence[int | str]) -> tuple[str, FieldInfo | None, type[Settings] | None]:
    """The dotted key that a validation error's path leads to, its field, and the model that holds the last step.

    Pydantic appends steps that are no keys (the branch of a union, `[key]` for a mapping's key): they are left out.
    """
    key: list[str] = []
    holder: type[Settings] | None = model
    info: FieldInfo | None = None
    steps = iter([step for step in path if step != "[key]"])
    for step in steps:
        if holder is None:
            break
        key.append(str(step))
        current, info = holder, holder.model_fields.get(str(step))
        if info is None:
            return ".".join(key), None, current
        holder, way = nested_model(info.annotation)
        if way or get_origin(info.annotation) in {dict, tuple}:
            inside = next(steps, None)
            if inside is not None:
                key.append(str(inside))
    return ".".join(key), info, holder

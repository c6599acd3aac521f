"""Read a YAML file into a mapping, and remember the line of every key for the messages about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from .yaml_faults import fault

Tree = dict[str, Any]
CORRECT = "Correct the file there; docs/settings.md shows every key."


class SourceError(Exception):
    """A file that is no mapping in YAML. `found` and `rule` are parts of a sentence, `line` is 0 where unknown."""

    def __init__(self, found: str, rule: str, line: int = 0, remedy: str = CORRECT) -> None:
        super().__init__(f"{found}: {rule}")
        self.found, self.rule, self.line, self.remedy = found, rule, line, remedy


class _UniqueKeys(yaml.SafeLoader):
    """YAML without its worst trap: a key given twice silently keeps the last value."""


def _unique_mapping(loader: _UniqueKeys, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen: set[object] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str | int | float | bool | None):
            raise yaml.constructor.ConstructorError(None, None, "a key must be a word", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
        seen.add(key)
    return dict(loader.construct_mapping(node, deep=deep))


_UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def read_mapping(path: Path) -> tuple[Tree, dict[str, int]]:
    """The mapping in a file, and the line of every key by its dotted path; raises SourceError."""
    try:
        text = path.read_text(encoding="utf-8")
        loader = _UniqueKeys(text)
    except OSError as error:
        raise SourceError("a file that cannot be read", f"{error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SourceError("bytes that are no text", f"it must be UTF-8: {error.reason}") from error
    except yaml.YAMLError as error:
        raise SourceError("no valid YAML", "it holds a character that YAML does not allow") from error
    try:
        node = loader.get_single_node()
        tree = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        # Not str(error): it repeats the line, and the line may hold a secret.
        wrong = fault(error, text)
        raise SourceError("no valid YAML", wrong.rule, wrong.line, wrong.remedy) from error
    except RecursionError:
        raise SourceError("no description", "its values are nested deeper than anything is read") from None
    except (yaml.YAMLError, ValueError) as error:
        raise SourceError("no valid YAML", " ".join(str(error).split())[:120]) from error
    finally:
        loader.dispose()
    if not isinstance(tree, dict):
        kind = "an empty file" if tree is None else f"a {type(tree).__name__}"
        raise SourceError(kind, "the file must hold a mapping of keys")
    lines: dict[str, int] = {}
    _note_lines(node, "", lines)
    return tree, lines


def _note_lines(node: yaml.Node | None, above: str, lines: dict[str, int]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            path = f"{above}{key.value}"
            lines[path] = key.start_mark.line + 1
            _note_lines(value, f"{path}.", lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[f"{above}{index}"] = value.start_mark.line + 1
            _note_lines(value, f"{above}{index}.", lines)

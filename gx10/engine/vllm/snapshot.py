"""Write down what one version of vLLM accepts: its flags, parsers, backends and environment variables.

Runs under a Python in which that vLLM can be imported, by path, so that it needs nothing of this package:

    PYTHONPATH=<unpacked vllm wheel> python snapshot.py vllm-serve-flags-0.22.1.json

The result is packaged, and the guards read it: no host and no vLLM is needed to refuse a recipe.
"""

# ruff: noqa: ANN401 - it runs under vLLM's Python, whose objects have no types that this package could import

from __future__ import annotations

import ast
import dataclasses
import enum
import importlib
import importlib.util
import inspect
import json
import sys
import typing
from pathlib import Path
from typing import Any

#: Arguments that take one configuration class as JSON, where the parser accepts any dictionary and the class refuses
#: unknown keys only after the model has been looked at.
LATE_CONFIG_CLASSES = {"speculative_config": ("vllm.config.speculative", "SpeculativeConfig")}

ACTION_KINDS = {
    "_HelpAction": "help",
    "_StoreAction": "value",
    "_StoreTrueAction": "true",
    "BooleanOptionalAction": "bool",
    "_AppendAction": "append",
    "LoRAParserAction": "value",
}
TYPE_NAMES = {
    "human_readable_int": "human_int",
    "human_readable_int_or_auto": "human_int_or_auto",
    "loads": "json",
    "parse_dataclass": "config",
    "union_dict_and_str": "json_or_str",
    "<lambda>": "backend_name",
}


def closure_value(function: Any, name: str) -> Any:
    """The value that a nested function remembers under a name, or nothing."""
    return inspect.getclosurevars(function).nonlocals.get(name)


def value_type(converter: Any) -> tuple[str, bool, Any]:
    """The name of an argument's value type, whether `None` is a value, and the class its JSON is read into."""
    if converter is None:
        return "str", False, None
    name = getattr(converter, "__name__", str(converter))
    if name == "_optional_type":
        inner, _, cls = value_type(closure_value(converter, "return_type"))
        return inner, True, cls
    if name == "_parse_type":
        return value_type(closure_value(converter, "return_type"))
    if name == "parse_dataclass":
        return "config", False, inspect.signature(converter).parameters["cls"].default
    return TYPE_NAMES.get(name, name), False, None


def nested_config(hint: Any) -> Any:
    """The configuration class inside a type hint such as `PassConfig | None`, or nothing."""
    candidates = [hint, *typing.get_args(hint)]
    return next((c for c in candidates if inspect.isclass(c) and dataclasses.is_dataclass(c)), None)


def config_fields(cls: Any, deep: bool = True) -> dict[str, Any]:
    """The keys a configuration class takes; a key that is a configuration itself maps to its keys, if `deep`."""
    try:
        hints = typing.get_type_hints(cls)
    except NameError:  # names imported for type checkers only: nested classes are then found from the plain annotation
        hints = {}
    fields = {}
    for field in dataclasses.fields(cls):
        if field.init and not field.name.startswith("_"):
            inner = nested_config(hints.get(field.name, field.type)) if deep else None
            fields[field.name] = None if inner is None else config_fields(inner)
    return dict(sorted(fields.items()))


def flag(action: Any) -> dict[str, Any]:
    """One argument as the guards need it; what equals the usual case is left out."""
    kind = ACTION_KINDS[type(action).__name__]
    entry: dict[str, Any] = {"dest": action.dest, "spellings": action.option_strings, "kind": kind}
    if kind in {"value", "append"}:
        entry["type"], optional, cls = value_type(action.type)
        if optional:
            entry["optional"] = True
        if action.choices:
            entry["choices"] = [str(choice) for choice in action.choices if str(choice) != "None"]
        if action.nargs is not None:
            entry["nargs"] = action.nargs
        if cls is not None:
            entry["fields"] = config_fields(cls)
        elif action.dest in LATE_CONFIG_CLASSES:
            module, name = LATE_CONFIG_CLASSES[action.dest]
            # Keys only: what such a class holds further down are objects that vLLM fills in, not what a person writes.
            entry["fields"] = config_fields(getattr(importlib.import_module(module), name), deep=False)
    return entry


def literals_in_function(module: str, function: str, variable: str) -> list[str]:
    """The string keys or members that a function assigns to a variable, read from its source.

    vLLM keeps some of its tables inside functions whose import needs a GPU's libraries.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        sys.exit(f"{module} is not in this vLLM: the table {function}.{variable} must have moved")
    for node in ast.walk(ast.parse(Path(spec.origin).read_text())):
        if isinstance(node, ast.FunctionDef) and node.name == function:
            for statement in ast.walk(node):
                if isinstance(statement, ast.Assign) and any(
                    isinstance(target, ast.Name) and target.id == variable for target in statement.targets
                ):
                    value = statement.value
                    entries = value.keys if isinstance(value, ast.Dict) else getattr(value, "elts", [])
                    return sorted(str(entry.value) for entry in entries if isinstance(entry, ast.Constant))
    sys.exit(f"{module}.{function} assigns no {variable} in this vLLM: the table must have moved")


def enum_names(module: str, name: str) -> list[str]:
    """The members of one of vLLM's enumerations, in the spelling it looks them up by."""
    members: type[enum.Enum] = getattr(importlib.import_module(module), name)
    return sorted(members.__members__)


def flattened(literal: Any) -> list[str]:
    """The strings of a Literal; Literals inside it are already flat."""
    return sorted(str(value) for value in typing.get_args(literal))


def snapshot() -> dict[str, Any]:
    """Everything the guards ask about one vLLM."""
    argparse_utils = importlib.import_module("vllm.utils.argparse_utils")
    cli_args = importlib.import_module("vllm.entrypoints.openai.cli_args")
    parser = cli_args.make_arg_parser(argparse_utils.FlexibleArgumentParser(prog="vllm serve"))
    oracle = "vllm.model_executor.layers.fused_moe.oracle"
    return {
        "vllm": importlib.import_module("vllm.version").__version__.partition("+")[0],
        "flags": [flag(action) for action in parser._actions],
        "reasoning_parsers": sorted(importlib.import_module("vllm.reasoning").ReasoningParserManager.list_registered()),
        "tool_parsers": sorted(importlib.import_module("vllm.tool_parsers").ToolParserManager.list_registered()),
        "speculative_methods": flattened(importlib.import_module("vllm.config.speculative").SpeculativeMethod),
        "mtp_methods": flattened(importlib.import_module("vllm.config.speculative").MTPModelTypes),
        "mamba_backends": enum_names("vllm.config.mamba", "MambaBackendEnum"),
        "attention_backends": enum_names("vllm.v1.attention.backends.registry", "AttentionBackendEnum"),
        "quantization_methods": flattened(
            importlib.import_module("vllm.model_executor.layers.quantization").QuantizationMethods
        ),
        "load_formats": flattened(importlib.import_module("vllm.model_executor.model_loader").LoadFormats),
        "executor_backends": flattened(importlib.import_module("vllm.config.parallel").DistributedExecutorBackend),
        "moe_backends_nvfp4": literals_in_function(f"{oracle}.nvfp4", "map_nvfp4_backend", "mapping"),
        "moe_backends_unquantized": literals_in_function(f"{oracle}.unquantized", "map_unquantized_backend", "mapping"),
        "loader_extra_keys": literals_in_function(
            "vllm.model_executor.model_loader.default_loader", "__init__", "allowed_keys"
        ),
        "environment": sorted(
            name for name in importlib.import_module("vllm.envs").environment_variables if name.startswith("VLLM_")
        ),
    }


def text(facts: dict[str, Any]) -> str:
    """JSON with one flag or name list per line, so that a new version of vLLM is a readable diff."""
    lines = []
    for key, value in facts.items():
        if key == "flags":
            flags = ",\n  ".join(json.dumps(entry) for entry in value)
            lines.append(f'"flags": [\n  {flags}\n]')
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    # To a file, because vLLM logs to standard output while it is imported.
    Path(sys.argv[1]).write_text(text(snapshot()))

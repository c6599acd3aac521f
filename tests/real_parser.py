"""Run command lines through the argument parser of the vLLM that this Python can import.

Reads a JSON list of argument lists, writes a JSON list of `{"error": …}` or `{"values": …}`: what differs from the
default, as plain JSON. Runs under vLLM's Python, so it needs nothing of this project.
"""

import contextlib
import dataclasses
import enum
import importlib
import io
import json
import sys


def plain(value):
    """The value as JSON has it; configurations as the keys that were set."""
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init and is_set(value, f)}
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(inner) for inner in value]
    return value.name if isinstance(value, enum.Enum) else value


def is_set(owner, field):
    """Whether a field of a configuration differs from its default."""
    with contextlib.suppress(Exception):
        return getattr(owner, field.name) != getattr(type(owner)(), field.name)
    return True


def parsed(top, serve, arguments):
    """What vLLM makes of one command line."""
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            names = top.parse_args(["serve", *arguments])
            importlib.import_module("vllm.entrypoints.openai.cli_args").validate_parsed_serve_args(names)
    except SystemExit:
        return {"error": told.getvalue().strip().splitlines()[-1]}
    except (TypeError, ValueError, KeyError) as error:
        return {"error": str(error)}
    found = {name: value for name, value in vars(names).items() if name != "subparser"}
    defaults = {action.dest: action.default for action in serve._actions}
    return {"values": {name: plain(value) for name, value in found.items() if value != defaults.get(name)}}


def main():
    """Parse every command line of standard input."""
    argparse_utils = importlib.import_module("vllm.utils.argparse_utils")
    cli_args = importlib.import_module("vllm.entrypoints.openai.cli_args")
    # As in `vllm` itself: the parser at the top rewrites the words, its subcommand takes them.
    top = argparse_utils.FlexibleArgumentParser(prog="vllm")
    serve = top.add_subparsers(dest="subparser").add_parser("serve")
    cli_args.make_arg_parser(serve)
    with open(sys.argv[1], "w") as out:
        json.dump([parsed(top, serve, arguments) for arguments in json.load(sys.stdin)], out)


if __name__ == "__main__":
    main()

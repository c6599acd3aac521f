"""Run command lines through the argument parser of the vLLM that this Python can import.

Reads a JSON list of argument lists, writes a JSON list of `{"error": …}` or `{"values": …}`: what differs from the
default. Runs under vLLM's Python, so it needs nothing of this project.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import sys
from pathlib import Path
from typing import Any


def parsed(top: Any, serve: argparse.ArgumentParser, arguments: list[str]) -> dict[str, Any]:  # noqa: ANN401 - vLLM's
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
    return {"values": {name: value for name, value in found.items() if value != defaults.get(name)}}


def main() -> None:
    """Parse every command line of standard input into the file that is named."""
    argparse_utils = importlib.import_module("vllm.utils.argparse_utils")
    cli_args = importlib.import_module("vllm.entrypoints.openai.cli_args")
    # As in `vllm` itself: the parser at the top rewrites the words, its subcommand takes them.
    top = argparse_utils.FlexibleArgumentParser(prog="vllm")
    serve = top.add_subparsers(dest="subparser").add_parser("serve")
    cli_args.make_arg_parser(serve)
    answers = [parsed(top, serve, arguments) for arguments in json.load(sys.stdin)]
    Path(sys.argv[1]).write_text(json.dumps(answers, default=str))


if __name__ == "__main__":
    main()

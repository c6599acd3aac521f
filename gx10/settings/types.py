"""Types of single values that appear in more than one place, with the rule each value must keep."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, StringConstraints

from .base import holds_control

PLAIN_PATH = re.compile(r"[A-Za-z0-9._/+@=-]+")
ENV_NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"


def _plain(path: PurePosixPath) -> PurePosixPath:
    # Paths stand in unit files and in `docker run -v HOST:CONTAINER`, where spaces and colons mean something else.
    if not PLAIN_PATH.fullmatch(str(path)) or ".." in path.parts:
        raise ValueError("a path holds letters, digits and ._/+@=- only, and no `..`")
    return path


def _absolute(path: PurePosixPath) -> PurePosixPath:
    if not path.is_absolute() or path == PurePosixPath("/"):
        raise ValueError("it must be an absolute path to a directory below /")
    return _plain(path)


def _relative(path: PurePosixPath) -> PurePosixPath:
    if path.is_absolute() or path == PurePosixPath("."):
        raise ValueError("it must be a relative path")
    return _plain(path)


def _env_value(value: object) -> object:
    """Numbers are common in recipes, and mean their text. A YAML boolean has no text that programs agree on."""
    if isinstance(value, bool):
        word = '"1" or "true"' if value else '"0" or "false"'
        raise ValueError(f"write the text the program expects in quotes, such as {word}")  # noqa: TRY004 - pydantic's
    return str(value) if isinstance(value, int | float) else value


def _one_line(value: str) -> str:
    if any(character in value for character in "\n\r\0"):
        raise ValueError("it must be one line: an environment file has one variable per line")
    return value


def _plain_line(value: str) -> str:
    if holds_control(value):
        raise ValueError("it must be one line: it stands in one line of a unit or a file of a host")
    return value


OneLine = Annotated[str, AfterValidator(_plain_line)]
"""A text that stands in one line of a unit or a file."""

AbsolutePath = Annotated[PurePosixPath, AfterValidator(_absolute)]
"""An absolute path below / without surprises for a unit file or a bind mount."""

RelativePath = Annotated[PurePosixPath, AfterValidator(_relative)]
"""A path below some directory that another setting names."""

Interface = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,15}$")]
"""Name of a network device, at most 15 characters as the kernel allows."""

HostName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
"""A host name: lower case letters, digits and dashes."""

EnvValue = Annotated[str, BeforeValidator(_env_value), AfterValidator(_one_line)]
"""Value of an environment variable; numbers are taken as their text."""

Environment = dict[Annotated[str, StringConstraints(pattern=ENV_NAME)], EnvValue]
"""Environment variables by name."""

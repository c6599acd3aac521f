"""What pyinfra works out anew for every operation on every host, worked out once or for less.

pyinfra is pinned to one minor version, and a test holds each replacement against the original.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from typing import TYPE_CHECKING

import pyinfra
from pyinfra.api import arguments, facts
from pyinfra.api.util import PYINFRA_INSTALL_DIR

if TYPE_CHECKING:
    from types import FrameType

    from pyinfra.api.state import State

global_arguments = cache(arguments.all_global_arguments)
"""Names and types of the arguments that every operation takes. pyinfra evaluates their annotations at each call."""


def order_from_stack(state: State) -> list[int]:
    """Line numbers of the calls that lead from the deploy's file to an operation: its place among the others.

    pyinfra reads the source of every frame on the way for it, 15 ms an operation; this reads the frames alone.
    """
    frames: list[FrameType] = []
    frame = sys._getframe(1)
    while frame:
        frames.append(frame)
        frame = frame.f_back  # type: ignore[assignment]
    frames.reverse()
    first = 0
    if state.current_deploy_filename:
        files = [frame.f_code.co_filename for frame in frames]
        try:
            first = files.index(state.current_deploy_filename)
        except ValueError:
            first = len(frames)  # where pyinfra itself asks
    lines = [state.current_op_file_number] if pyinfra.is_cli else []
    own = [frame for frame in frames[first:] if not frame.f_code.co_filename.startswith(PYINFRA_INSTALL_DIR)]
    return lines + [frame.f_lineno for frame in own]


def spare() -> None:
    """Have pyinfra use what stands here, for as long as this process runs."""
    arguments.all_global_arguments = facts.all_global_arguments = global_arguments
    # `pyinfra.api.operation` is the decorator of that name.
    operations = importlib.import_module("pyinfra.api.operation")
    operations.get_operation_order_from_stack = order_from_stack  # type: ignore[attr-defined]

"""What stands in place of pyinfra's own costly questions answers as pyinfra does."""

from __future__ import annotations

import importlib
import time
from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.api import arguments, facts
from pyinfra.api.util import get_operation_order_from_stack

from gx10.operations.loop import pyinfra_costs
from gx10.operations.loop.pyinfra_costs import order_from_stack


def both(state: Any) -> tuple[list[int], list[int]]:  # noqa: ANN401 - pyinfra's state, as far as it is read
    """pyinfra's order of an operation, and ours, asked for on one line."""
    return get_operation_order_from_stack(state), order_from_stack(state)


def nested(state: Any, depth: int) -> tuple[list[int], list[int]]:  # noqa: ANN401
    """The same from some calls further in."""
    return nested(state, depth - 1) if depth else both(state)


@pytest.mark.parametrize("deploy_file", [__file__, None, "no/such/deploy.py"])
@pytest.mark.parametrize("depth", [0, 3])
@pytest.mark.parametrize("is_cli", [True, False])
def test_an_operation_has_the_place_that_pyinfra_gives_it(
    deploy_file: str | None, depth: int, is_cli: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyinfra.is_cli", is_cli)
    state = SimpleNamespace(current_deploy_filename=deploy_file, current_op_file_number=7)
    theirs, ours = nested(state, depth)
    assert ours == theirs
    if deploy_file == __file__:
        assert len(ours) > depth


def test_arguments_of_every_operation_are_those_of_pyinfra() -> None:
    assert pyinfra_costs.global_arguments() == pyinfra_costs.global_arguments.__wrapped__()


def test_a_deploy_asks_what_stands_here() -> None:
    importlib.import_module("gx10.operations.loop.connector")
    operations = importlib.import_module("pyinfra.api.operation")
    assert operations.get_operation_order_from_stack is order_from_stack
    assert arguments.all_global_arguments is facts.all_global_arguments is pyinfra_costs.global_arguments


def test_the_place_of_an_operation_costs_a_tenth_of_what_pyinfra_takes() -> None:
    state = SimpleNamespace(current_deploy_filename=__file__, current_op_file_number=7)

    def seconds(ask: Any) -> float:  # noqa: ANN401
        taken = []
        for _ in range(3):
            started = time.process_time()
            for _ in range(5):
                ask(state)
            taken.append(time.process_time() - started)
        return min(taken)

    assert seconds(order_from_stack) < seconds(get_operation_order_from_stack) / 10

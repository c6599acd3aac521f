"""No character that ends a line or commands a terminal comes from a description into a unit."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gx10.described import units
from gx10.engine.vllm.render import render
from gx10.settings.problems import Problem
from gx10.settings.recipe import Fallback, Limit, Recipe
from gx10.settings.reconcile import Reconcile

CONTROLS = ["a\nExecStartPre=+/bin/sh", "a\rb", "a\0b", "\x1b[2J", "a\x85b", "a\u2028b", "a\ud800"]
RECIPE: dict[str, Any] = {"recipe_version": "1", "name": "r", "container": "c", "command": "vllm serve x"}


@pytest.mark.parametrize("text", CONTROLS)
def test_a_unit_takes_no_word_and_no_text_that_ends_its_line(text: str) -> None:
    with pytest.raises(ValueError, match="cannot stand in a unit"):
        units.unit_word(text)
    with pytest.raises(ValueError, match="cannot stand in a unit"):
        units.unit_text(text)
    assert units.unit_text("100 % größer") == "100 %% größer"


@pytest.mark.parametrize("text", CONTROLS)
def test_a_setting_that_stands_in_one_line_is_one_line(text: str) -> None:
    with pytest.raises(ValidationError):
        Fallback(name=text)
    with pytest.raises(ValidationError):
        Reconcile.model_validate({"calendar": text})


@pytest.mark.parametrize("text", [text for text in CONTROLS if "\n" not in text])
def test_no_setting_holds_a_control_character_wherever_it_stands(text: str) -> None:
    with pytest.raises(ValidationError, match=r"control character|unicode"):
        Limit(value=1, reason=text)
    with pytest.raises(ValidationError, match=r"control character|unicode"):
        Recipe.model_validate({**RECIPE, "defaults": {"x": text}})
    assert Limit(value=1, reason="two\nlines,\tand a tab").reason


def test_a_line_that_ends_within_a_word_of_the_command_is_a_problem_of_the_recipe() -> None:
    problems: list[Problem] = []
    recipe = Recipe.model_validate({**RECIPE, "command": "vllm serve x --served-model-name 'a\nUser=root'"})
    render(recipe, "recipes/r.yaml", {}, problems)
    (problem,) = problems
    assert (problem.key, "one line of a unit" in problem.rule) == ("command", True)

"""A command is one `str.format` over defaults and overrides, split into words as a shell would."""

from __future__ import annotations

from typing import Any

from gx10.engine.vllm.render import Rendered, environment, render
from gx10.settings import Problem, Recipe


def recipe(command: str, **values: Any) -> Recipe:  # noqa: ANN401 - defaults hold several types
    """A minimal recipe."""
    return Recipe.model_validate(
        {"recipe_version": "1", "name": "r", "container": "c", "command": command, "defaults": values}
    )


def render_well(given: Recipe, **overrides: str | int) -> Rendered:
    """The rendered command, which must have no problem."""
    problems: list[Problem] = []
    rendered = render(given, "recipes/r.yaml", overrides, problems)
    assert problems == []
    assert rendered is not None
    return rendered


def test_overrides_come_before_defaults() -> None:
    assert render_well(recipe("vllm serve m --port {port}", port=8000), port=9000).argv[-1] == "9000"


def test_doubled_braces_are_json() -> None:
    command = """vllm serve m --speculative-config '{{"method": "mtp", "num_speculative_tokens": {n}}}'"""
    assert render_well(recipe(command, n=3)).argv[-1] == '{"method": "mtp", "num_speculative_tokens": 3}'


def test_continued_lines_are_one_line_and_quotes_keep_words_together() -> None:
    command = "vllm serve m \\\n  --chat-template 'a b' \\ \n  --port 1"
    assert render_well(recipe(command)).argv == ("vllm", "serve", "m", "--chat-template", "a b", "--port", "1")


def test_a_value_is_formatted_once() -> None:
    rendered = render_well(recipe("vllm serve m --hf-overrides '{overrides}'", overrides='{"a": "{port}"}'))
    assert rendered.argv[-1] == '{"a": "{port}"}'


def test_every_word_knows_the_placeholder_it_came_from() -> None:
    rendered = render_well(recipe("vllm serve m --host {host} --port={port}", host="h", port=1))
    assert rendered.placeholders == ((), (), (), (), ("host",), ("port",))


def test_a_quoted_placeholder_may_hold_spaces() -> None:
    assert render_well(recipe("vllm serve m --chat-template '{t}'", t="a b")).argv[-1] == "a b"


def test_attributes_of_values_are_out_of_reach() -> None:
    problems: list[Problem] = []
    assert render(recipe("vllm serve {m.__class__}", m="x"), "recipes/r.yaml", {}, problems) is None
    assert [problem.rule for problem in problems] == ["a placeholder is a plain name"]


def test_the_engine_never_asks_a_hub() -> None:
    given = recipe("vllm serve m")
    assert environment(given) == {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}

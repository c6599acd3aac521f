"""The settings reference is written from the models, names every key, and is never stale."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gx10.engine.reference import type_name
from gx10.settings import PROJECT, Cluster, Image, Recipe
from gx10.settings.base import Settings
from gx10.settings.fields import fields_below


def test_the_settings_reference_is_what_the_models_say() -> None:
    written = subprocess.run(
        [sys.executable, "-m", "gx10.engine.reference"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout
    stale = "docs/settings.md is stale: run `make docs`"
    assert (PROJECT / "docs/settings.md").read_text(encoding="utf-8") == written, stale


@pytest.mark.parametrize("model", [Cluster, Recipe, Image])
def test_every_key_says_what_it_means(model: type[Settings]) -> None:
    undocumented = [path for path, info in fields_below(model) if not (info.description or "").endswith(".")]
    assert undocumented == []


def test_every_key_has_a_default_or_an_example() -> None:
    rows = [line.split(" | ") for line in (PROJECT / "docs/settings.md").read_text().splitlines() if line[:3] == "| `"]
    bare = [row[0] for row in rows if len(row) == 5 and row[2] in {"none", "required"} and not row[3].strip()]
    assert bare == []


def test_types_are_named_in_words() -> None:
    assert type_name(dict[str, str] | None) == "mapping of names to text"
    assert type_name(tuple[int | str, ...]) == "list of whole number or text"

"""Templates rendered with values that come ready; a value that is missing is an error, never an empty string."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


@cache
def _environment(root: Path) -> Environment:
    return Environment(
        loader=FileSystemLoader(root),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - units and configuration files, not HTML
    )


def render(project: Path, destination: str, **values: object) -> bytes:
    """The text for a destination such as `/etc/gx10/share.conf`, whose template's path mirrors it."""
    template = _environment(project / "templates").get_template(destination.lstrip("/") + ".j2")
    return template.render(**values).encode()

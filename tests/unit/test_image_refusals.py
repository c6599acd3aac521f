"""A wheel that is missing, another or without a pin is refused before the build, with where to get the right one."""

from __future__ import annotations

import pytest

from gx10.operations import image as operations
from gx10.settings import load_image


def refused(monkeypatch: pytest.MonkeyPatch, **faults: str) -> dict[str, str]:
    """The sentence for each wheel that the head finds at fault."""
    image, file = load_image("vllm-node")
    names = {wheel.project.replace("-", "_"): wheel.name for wheel in image.wheels.required}
    told = {names[project]: fault for project, fault in faults.items()}
    monkeypatch.setattr(operations, "ask", lambda *_, **__: told)
    return dict(zip(faults, operations._wheel_faults(image, file), strict=True))


def test_a_missing_wheel_is_refused_with_its_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = refused(monkeypatch, flashinfer_python="is missing")["flashinfer_python"]
    assert "flashinfer_python-0.6.12-py3-none-any.whl in /srv/import/wheels is missing" in sentence
    assert "images/vllm-node.yaml says where it comes from: https://pypi.org/project/flashinfer-python" in sentence


def test_a_wheel_without_a_pin_is_refused_with_the_command_that_pins_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = refused(monkeypatch, vllm=f"has sha256 {'1' * 64}, and none is pinned")["vllm"]
    assert "prebuilt-vllm-current" in sentence
    assert sentence.endswith("gx10 images lock vllm-node --wheels DIRECTORY.")

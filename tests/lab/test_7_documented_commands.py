"""What the documents tell people to type is typed, in the situation that each page describes.

A part that is quick; `make docs-commands` types all of it and publishes docs/documented-commands.md.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from gx10.lab.lab import Lab
from tests.documented.case import Scenario
from tests.documented.cases import SCENARIOS
from tests.documented.play import played

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("scenario", [one for one in SCENARIOS if one.quick], ids=lambda scenario: scenario.name)
def test_a_page_is_right_about_its_situation(served: Lab, scenario: Scenario, tmp_path: Path) -> None:
    assert served.status()
    assert played(scenario, tmp_path)

"""Unit tests ask no host, and keep nothing where a person does."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def alone(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lab's ssh files may be missing, and what a command keeps of a cluster is this test's own."""
    monkeypatch.setattr("gx10.access.access_files.missing_files", lambda _: None)
    monkeypatch.setenv("GX10_STATE", str(tmp_path_factory.mktemp("state")))

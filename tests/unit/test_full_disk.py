"""Where nothing more can be written, a command says so in a sentence and ends with 1, whatever it was about to say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("words", [["--help"], ["completion", "bash"], ["images", "--help"]])
def test_output_that_nobody_takes_ends_a_command_with_a_sentence(words: list[str], tmp_path: Path) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gx10.cli", *words],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "GX10_STATE": str(tmp_path / "state")},
        )  # fmt: skip
    assert done.returncode == 1
    assert "where its output goes takes nothing more: No space left on device. Make room" in done.stderr
    assert "Traceback" not in done.stderr


def test_other_errors_of_files_are_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from gx10 import cli  # noqa: PLC0415 - patched
    from gx10.cli import completion  # noqa: PLC0415

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "/root/x")

    monkeypatch.setattr(completion.completion, "callback", denied)
    with pytest.raises(PermissionError):
        cli.main(["completion", "bash"], standalone_mode=False)

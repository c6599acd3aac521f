"""`gx10 completion`: the words of the command, as each shell completes them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gx10.cli import VERBS, main


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_that_asks_the_command_itself(shell: str) -> None:
    printed = CliRunner().invoke(main, ["completion", shell])
    assert printed.exit_code == 0
    assert f"_GX10_COMPLETE={shell}_complete" in printed.output


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(
    ("typed", "completed"),
    [("gx10 sus", ["suspend"]), ("gx10 images ver", ["verify"]), ("gx10 st", ["start", "status", "stop"])],
)
def test_bash_completes_verbs_as_its_user_has_it(typed: str, completed: list[str]) -> None:
    words = typed.split()
    script = (
        'eval "$(gx10 completion bash)"\n'
        f"COMP_WORDS=({typed}) COMP_CWORD={len(words) - 1}\n"
        f'_gx10_completion gx10 {words[-1]} {words[-2]}\nprintf "%s\\n" "${{COMPREPLY[@]}}"\n'
    )
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", "-c", script], env={"PATH": path, "HOME": "/"}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == completed, done.stderr


def test_every_verb_is_a_module_of_its_own_name() -> None:
    assert list(VERBS) == sorted(VERBS)
    for verb in VERBS:
        command = main.get_command(None, verb)  # type: ignore[arg-type]
        assert command is not None
        assert command.name == verb

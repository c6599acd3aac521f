"""The deploy command itself refuses a bad description, before it connects to anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gx10.settings import PROJECT

PYINFRA = Path(sys.executable).parent / "pyinfra"


@pytest.mark.parametrize(
    ("cluster", "says"),
    [
        ("example", "clusters/example.yaml:7: hosts: found 192.0.2.11"),
        ("nowhere", "environment: GX10_CLUSTER: found 'nowhere', but clusters/nowhere.yaml does not exist"),
    ],
)
def test_pyinfra_exits_with_the_sentences_and_connects_to_nothing(cluster: str, says: str) -> None:
    done = subprocess.run(
        [PYINFRA, "inventory.py", "deploy.py", "-y"],
        cwd=PROJECT,
        env={**os.environ, "GX10_CLUSTER": cluster},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    told = done.stdout + done.stderr
    assert done.returncode != 0
    assert says in told
    assert "Traceback" not in told
    assert "Connecting to hosts" not in told

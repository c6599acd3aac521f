"""From fresh hosts to a served completion, as the dry run said, and then nothing more."""

from __future__ import annotations

import json

import pytest

from gx10.described.units import ENGINE_CONTAINER
from gx10.engine.vllm.render import render
from gx10.lab.lab import Lab
from gx10.settings import load_recipe

from .conftest import FirstDeploy
from .deployment import HOSTS, PROJECT, deploy, gx10

pytestmark = pytest.mark.lab


def test_the_dry_run_named_what_then_changed(first_deploy: FirstDeploy) -> None:
    assert first_deploy.dry.predicted
    assert first_deploy.dry.conditional == set()
    assert first_deploy.run.changed == first_deploy.dry.predicted


def test_a_second_run_changes_nothing_and_its_dry_run_says_so(first_deploy: FirstDeploy) -> None:
    assert first_deploy.run.status == 0
    dry = deploy("--dry")
    assert (dry.status, dry.predicted, dry.conditional) == (0, set(), set())
    run = deploy("-y")
    assert (run.status, run.changed) == (0, set())


def test_the_engine_runs_nemotrons_command_line_with_only_the_model_path_differing(
    first_deploy: FirstDeploy,
) -> None:
    assert first_deploy.run.status == 0
    told = Lab.for_checkout(PROJECT).run("gx10-1", "docker", "container", "inspect", ENGINE_CONTAINER).stdout
    runs = json.loads(told)[0]["Config"]["Cmd"]
    recipe, file = load_recipe("nemotron-3-ultra-nvfp4", PROJECT)
    nemotron = render(recipe, file, {"model_path": runs[2]}, [])
    assert nemotron is not None
    assert tuple(runs) == nemotron.argv


def test_every_node_passes_its_checks(first_deploy: FirstDeploy) -> None:
    assert first_deploy.run.status == 0
    verified = gx10("verify", "-q")
    assert verified.returncode == 0, verified.stdout


def test_status_shows_every_host_in_order(first_deploy: FirstDeploy) -> None:
    assert first_deploy.run.status == 0
    told = gx10("status")
    assert told.returncode == 0, told.stdout
    assert all(host in told.stdout for host in HOSTS)

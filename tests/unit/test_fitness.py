"""What would stop a deploy after the gang was stopped is refused before: wheels that are missing, a model too small."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gx10.described import watch_files
from gx10.described.description import describe
from gx10.described.reconciler_wheels import locked, wheel_faults, wheels_question
from gx10.engine.checked import check
from gx10.engine.vllm.splits import Shape, products, split_faults
from gx10.operations import fitness
from gx10.operations.handed import shape_of
from gx10.settings import PROJECT, SettingsError

from .test_probes import ask

DESCRIBED = describe("lab")
LOCK = (PROJECT / watch_files.LOCK).read_text()
PINS = locked(LOCK, "3.12", "aarch64")


def offered(python: tuple[int, int] = (3, 12), machine: str = "aarch64", tag: str = "py3-none-any") -> dict[str, Any]:
    """Every locked wheel, as a host tells it."""
    wheels = {
        f"{re.sub('[-_.]+', '_', pin.partition('==')[0])}-{pin.partition('==')[2]}-{tag}.whl": min(hashes)
        for pin, hashes in PINS.items()
    }
    return {"installed": False, "wheels": wheels, "python": list(python), "machine": machine}


def test_all_wheels_are_enough_and_an_installed_environment_needs_none() -> None:
    assert list(wheel_faults(DESCRIBED, offered())) == []
    assert list(wheel_faults(DESCRIBED, {**offered(), "wheels": {}, "installed": True})) == []


def test_what_is_missing_is_named_with_what_to_do() -> None:
    told = offered()
    told["wheels"] = {name: digest for name, digest in told["wheels"].items() if not name.startswith("pip-")}
    (fault,) = wheel_faults(DESCRIBED, told)
    assert "lacks 1 of its environment's wheels in /srv/import/reconcile: pip==" in fault
    (fault,) = wheel_faults(DESCRIBED, {**offered(), "wheels": {}})
    assert f"lacks {len(PINS)} of" in fault
    assert f"and {len(PINS) - 3} more" in fault
    for remedy in ("`make reconcile-wheels`", "reconcile.node", "`reconcile: {enabled: false}`"):
        assert remedy in fault


def test_a_wheel_with_another_hash_is_missing() -> None:
    told = offered()
    told["wheels"] = {name: "0" * 64 if name.startswith("pip-") else told["wheels"][name] for name in told["wheels"]}
    (fault,) = wheel_faults(DESCRIBED, told)
    assert "pip==" in fault


@pytest.mark.parametrize(
    ("tag", "python", "machine", "fits"),
    [
        ("cp312-cp312-manylinux_2_17_aarch64", (3, 12), "aarch64", True),
        ("cp312-cp312-manylinux_2_17_aarch64", (3, 13), "aarch64", False),
        ("cp312-cp312-manylinux_2_17_aarch64", (3, 12), "x86_64", False),
        ("cp38-abi3-manylinux2014_x86_64", (3, 13), "x86_64", True),
        ("cp313-abi3-manylinux2014_x86_64", (3, 12), "x86_64", False),
        ("py2.py3-none-any", (3, 12), "aarch64", True),
    ],
)
def test_wheels_for_another_python_or_machine_are_refused(
    tag: str, python: tuple[int, int], machine: str, fits: bool
) -> None:
    faults = list(wheel_faults(DESCRIBED, offered(python, machine, tag)))
    assert len(faults) == (0 if fits else 1)
    if faults:
        assert f"has Python {'.'.join(map(str, python))} on {machine}" in faults[0]
        assert f"--python {'.'.join(map(str, python))}" in faults[0]


def test_what_a_lock_asks_for_elsewhere_is_not_missing_here() -> None:
    assert not [pin for pin in PINS if pin.startswith("colorama")], "for Windows alone"
    assert [pin for pin in PINS if pin.startswith("cffi")]
    assert all(PINS.values())


def test_a_host_hashes_wheels_only_while_its_environment_is_not_of_this_lock(tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_bytes(b"wheel")
    (tmp_path / "env").mkdir()
    asked: dict[str, object] = {"directory": str(tmp_path), "environment": str(tmp_path / "env"), "lock": "l"}
    told: Any = ask("reconciler_wheels", asked)
    assert (told["installed"], told["wheels"]) == (False, {"a.whl": hashlib.sha256(b"wheel").hexdigest()})
    assert told["python"] == list(sys.version_info[:2])
    for seal, installed in (('{"lock": "other"}', False), ("{", False), ("7", False), ('{"lock": "l"}', True)):
        (tmp_path / "env/.gx10-environment.json").write_text(seal)
        told = ask("reconciler_wheels", asked)
        assert (told["installed"], bool(told["wheels"])) == (installed, not installed)


# Sizes


def test_a_model_that_three_hosts_cannot_share_is_refused_with_what_divides() -> None:
    (fault,) = split_faults(Shape(heads=4, layers=2), 3, 1)
    for word in ("4 attention heads and 2 layers", "must divide", "num_attention_heads", "num_hidden_layers"):
        assert word in fault
    assert "No product of 3 does; of 1, 2 GPUs one does" in fault


def test_only_sizes_that_fit_are_suggested() -> None:
    (fault,) = split_faults(Shape(heads=6, layers=2), 4, 1)
    assert "Write tensor x pipeline as 2 x 2." in fault
    (fault,) = split_faults(Shape(heads=64, layers=3), 3, 1)
    assert "Write tensor x pipeline as 1 x 3." in fault
    assert list(split_faults(Shape(heads=64, layers=3), 1, 3)) == []
    assert list(split_faults(Shape(heads=64, layers=60), 4, 1)) == []


def test_every_product_is_one() -> None:
    assert products(4) == ((4, 1), (2, 2), (1, 4))
    assert products(3) == ((3, 1), (1, 3))


def test_the_guard_names_every_product_and_what_must_divide(tmp_path: Path) -> None:
    shutil.copytree(PROJECT, tmp_path / "project", ignore=shutil.ignore_patterns(".*", "tests", "docs"))
    file = tmp_path / "project/clusters/lab.yaml"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if not line.startswith("  gx10-4:")))
    with pytest.raises(SettingsError) as error:
        check("lab", tmp_path / "project")
    (problem,) = error.value.problems
    assert "3 x 1 or 1 x 3" in problem.remedy
    assert "must divide the model's attention heads" in problem.remedy


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ('{"num_attention_heads": 4, "num_hidden_layers": 2}', {"heads": 4, "layers": 2}),
        ('{"text_config": {"num_attention_heads": 8, "num_hidden_layers": 9}}', {"heads": 8, "layers": 9}),
        ('{"num_attention_heads": "many", "num_hidden_layers": 2}', None),
        ("[]", None),
        ("{", None),
    ],
)
def test_a_host_tells_the_shape_where_the_configuration_does(tmp_path: Path, text: str, shape: object) -> None:
    (tmp_path / "config.json").write_text(text)
    asked: dict[str, object] = {"directories": [str(tmp_path / "absent"), str(tmp_path)]}
    assert ask("model_shape", asked) == {"shape": shape}
    assert fitness.control_shape(str(tmp_path)) == shape


class RefusedError(Exception):
    """The sentence of an operation that refused."""


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> dict[type, Any]:
    """Answers of the head by fact; a refusal is raised."""
    answers: dict[type, Any] = {}

    def refuse(*sentences: str) -> Any:  # noqa: ANN401 - it never returns
        raise RefusedError(*sentences)

    monkeypatch.setattr(fitness, "ask", lambda fact, **_: answers[fact])
    monkeypatch.setattr(fitness, "elsewhere", lambda _: False)
    monkeypatch.setattr(fitness, "refuse", refuse)
    monkeypatch.setattr(fitness, "host", SimpleNamespace(noop=lambda _: None))
    return answers


def look(operation: Any, **told: Any) -> list[object]:  # noqa: ANN401 - pyinfra's own wrapper
    return list(operation._inner.__wrapped__(**told))


def test_the_operations_refuse_what_does_not_fit_and_pass_what_does(refusing: dict[type, Any]) -> None:
    refusing[fitness.ReconcilerWheels] = {**offered(), "wheels": {}}
    told = {"node": "gx10-2", "wheels": wheels_question(DESCRIBED), "description": DESCRIBED}
    with pytest.raises(RefusedError, match="lacks"):
        look(fitness.reconciler_installable, **told)
    refusing[fitness.ReconcilerWheels] = offered()
    assert look(fitness.reconciler_installable, **told) == []
    shape = shape_of(DESCRIBED)
    for known in (None, {"heads": 4, "layers": 2}):
        refusing[fitness.ModelShape] = {"shape": known}
        assert look(fitness.model_splits, **shape) == []
    with pytest.raises(RefusedError, match="cannot be shared"):
        look(fitness.model_splits, **{**shape, "tensor": 3})


def test_weights_of_the_control_node_are_judged_before_they_are_sent(refusing: dict[type, Any], tmp_path: Path) -> None:
    refusing[fitness.ModelShape] = {"shape": None}
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": 4, "num_hidden_layers": 2}))
    with pytest.raises(RefusedError, match="4 attention heads"):
        look(fitness.model_splits, **{**shape_of(DESCRIBED), "control": str(tmp_path), "tensor": 3})


def test_the_deploy_asks_for_both_before_its_first_change() -> None:
    text = (PROJECT / "deploy.py").read_text()
    order = [line.partition("(")[0] for line in text.splitlines() if line.endswith("(described)")]
    assert order[:2] == ["preflight", "reconciler_preflight"]

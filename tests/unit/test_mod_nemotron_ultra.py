"""The Nemotron mod registers what an older vLLM lacks, once, and refuses one that it cannot help."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

APPLY = Path(__file__).resolve().parents[2] / "files/image/mods/nemotron-ultra/apply.py"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    models = tmp_path / "vllm/model_executor/models"
    models.mkdir(parents=True)
    (models / "registry.py").write_text("_TEXT_GENERATION_MODELS = {\n}\n_SPECULATIVE_DECODING_MODELS = {\n}\n")
    (models / "nemotron_h.py").touch()
    (models / "nemotron_h_mtp.py").touch()
    (tmp_path / "vllm/reasoning").mkdir()
    (tmp_path / "vllm/reasoning/__init__.py").write_text("_REASONING_PARSERS_TO_REGISTER = {\n}\n")
    return tmp_path


def apply(site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, APPLY, site], capture_output=True, text=True, check=False)


def tables(path: Path) -> dict[str, dict[str, tuple[str, str]]]:
    scope: dict[str, dict[str, tuple[str, str]]] = {}
    exec(path.read_text(), scope)  # noqa: S102 - the tables under test
    return scope


def test_architecture_draft_head_and_parser_are_registered_where_they_are_missing(site: Path) -> None:
    assert "NemotronHForCausalLM, NemotronHMTPModel, nemotron_v3" in json.loads(apply(site).stdout)["note"]
    registry = tables(site / "vllm/model_executor/models/registry.py")
    assert registry["_TEXT_GENERATION_MODELS"] == {"NemotronHForCausalLM": ("nemotron_h", "NemotronHForCausalLM")}
    assert registry["_SPECULATIVE_DECODING_MODELS"] == {"NemotronHMTPModel": ("nemotron_h_mtp", "NemotronHMTP")}
    parsers = tables(site / "vllm/reasoning/__init__.py")["_REASONING_PARSERS_TO_REGISTER"]
    module, name = parsers["nemotron_v3"]
    assert f"class {name}(" in (site / f"vllm/reasoning/{module}.py").read_text()


def test_a_second_run_changes_nothing(site: Path) -> None:
    apply(site)
    before = {path: path.read_text() for path in site.rglob("*.py")}
    told = json.loads(apply(site).stdout)
    assert told["files"] == []
    assert {path: path.read_text() for path in site.rglob("*.py")} == before


def test_a_vllm_without_the_models_code_is_refused(site: Path) -> None:
    (site / "vllm/model_executor/models/nemotron_h.py").unlink()
    done = apply(site)
    assert done.returncode == 1
    assert "no models/nemotron_h.py" in done.stderr

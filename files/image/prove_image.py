#!/usr/bin/env python3
"""Prove that this image holds the torch, the vLLM and the mods that it should; prints one JSON line of what it found.

The last step of a build, and later a check on every host:

    docker run --rm IMAGE python3 /opt/gx10/prove_image.py            # imports vLLM and proves each mod, 10 to 20 s
    docker run --rm IMAGE python3 /opt/gx10/prove_image.py --quick    # reads versions and file digests, under 1 s

Exit status 0 when everything is as described, 1 with a sentence on standard error when not.
"""

import argparse
import hashlib
import importlib
import importlib.metadata
import json
import logging
import os
import re
import runpy
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).resolve().parent

PITFALL = (
    "This is how `ImportError: libtorch_cuda.so: cannot open shared object file` comes about: the metadata of a wheel "
    "pulled another torch, usually torch 2.10.0+cpu, over the one that vLLM was built with, and the engine would never "
    "answer. Rebuild the image, and see that its Dockerfile still ends in `uv pip install --no-deps --force-reinstall "
    "--index-url $TORCH_INDEX torch==$TORCH_VERSION`."
)


def refuse(sentence: str) -> None:
    """End with a sentence for whoever builds or checks the image."""
    sys.exit(f"image refused: {sentence}")


def torch_without_import(site: Path) -> dict[str, str]:
    """The versions that torch's own files state."""
    text = (site / "torch/version.py").read_text()
    stated = dict(re.findall(r"^(__version__|cuda)\b.*= '([^']+)'", text, re.MULTILINE))
    return {"torch": stated.get("__version__", "unknown"), "cuda": stated.get("cuda", "none")}


def torch_imported() -> dict[str, str]:
    """The versions that an imported torch states."""
    try:
        import torch
    except ImportError as error:
        refuse(f"torch cannot be imported: {error}. {PITFALL}")
    return {"torch": torch.__version__, "cuda": torch.version.cuda or "none"}


class Failures(logging.Handler):
    """Collects what vLLM only warns about: a kernel library that could not be loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line when it tells of a failed import."""
        if "Failed to import" in (line := record.getMessage()):
            self.lines.append(line)


def prove_vllm(architectures: list[str]) -> None:
    """Import vLLM's server, engine and kernels; a missing NVIDIA driver is no fault of an image."""
    failures = Failures()
    # Standard output is for the one line of findings.
    os.environ["VLLM_LOGGING_STREAM"] = "ext://sys.stderr"
    try:
        from vllm.platforms import current_platform

        logging.getLogger("vllm").addHandler(failures)
        current_platform.import_kernels()
        for module in ("ray", "vllm.entrypoints.cli.main", "vllm.entrypoints.openai.api_server", "vllm.v1.engine.core"):
            importlib.import_module(module)
        from vllm.model_executor.models.registry import ModelRegistry

        for name in architectures:
            ModelRegistry.models[name].inspect_model_cls()
    except ImportError as error:
        refuse(f"vLLM cannot be imported: {error}. {PITFALL}")
    except KeyError as error:
        refuse(f"vLLM does not know the architecture {error}. Correct the image's ARCHITECTURES or its vLLM wheel.")
    broken = [line for line in failures.lines if "libcuda.so.1" not in line]
    if broken:
        refuse(f"vLLM's kernels cannot be loaded: {'; '.join(broken)}. {PITFALL}")


def prove_mod(name: str) -> dict[str, object]:
    """Run the mod's own proof."""
    proof = runpy.run_path(str(HERE / "mods" / name / "prove.py"))
    try:
        found: dict[str, object] = proof["prove"]()
    except AssertionError as error:
        refuse(f"mod {name} is not in force: {error}")
    return found


def check_files(mods: dict[str, dict[str, dict[str, str]]], site: Path) -> None:
    """Compare the files that the mods touched with what was recorded when they were applied."""
    for name, record in mods.items():
        for file, digest in record["files"].items():
            path = site / file
            if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                refuse(f"mod {name}: {path} is not the file that the mod left. Rebuild the image from its pins.")


def main() -> None:
    """Check, then print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="read files instead of importing them")
    parser.add_argument(
        "--inspect", nargs="*", default=[], metavar="ARCHITECTURE", help="also import these model classes"
    )
    options = parser.parse_args()
    site = Path(sysconfig.get_path("purelib"))
    expected = json.loads((HERE / "expected.json").read_text())
    mods = json.loads((HERE / "mods.json").read_text())
    found: dict[str, object] = dict(torch_without_import(site) if options.quick else torch_imported())
    for name, wanted in expected.items():
        if found[name] != wanted:
            refuse(f"{name} is {found[name]}, expected exactly {wanted}. {PITFALL}")
    found["vllm"] = importlib.metadata.version("vllm")
    check_files(mods, site)
    if options.quick:
        found["mods"] = dict.fromkeys(mods, "files as recorded")
    else:
        prove_vllm(options.inspect)
        found["mods"] = {name: prove_mod(name) for name in mods}
    print(json.dumps(found))


if __name__ == "__main__":
    main()

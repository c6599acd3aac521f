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
    "answer. Rebuild the image, and see that its Dockerfile still has the layer `uv pip install --no-deps "
    "--force-reinstall … pins/torch.txt`, and an override in every other layer that installs something."
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
    """Run the mod's own proof; for one without, such as a run.sh, the recorded files are all there is to hold it to."""
    if not (HERE / "mods" / name / "prove.py").exists():
        return {"files": "as recorded"}
    proof = runpy.run_path(str(HERE / "mods" / name / "prove.py"))
    try:
        found: dict[str, object] = proof["prove"]()
    except AssertionError as error:
        refuse(f"mod {name} is not in force: {error}")
    return found


def check_requirements() -> list[str]:
    """Refuse an image in which a package lacks another; return what is there in another version than asked for.

    A lock is made from metadata, and the metadata of a wheel that was built elsewhere may ask for more than the lock's.
    """
    try:
        from packaging.requirements import Requirement
    except ImportError:
        refuse("the package `packaging`, which reads what the others ask for, is not installed. Add it to the lock.")
    have = {re.sub(r"[-_.]+", "-", one.name).lower(): one.version for one in importlib.metadata.distributions()}
    lacking, other = set(), set()
    for one in importlib.metadata.distributions():
        for requirement in map(Requirement, one.requires or ()):
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            version = have.get(re.sub(r"[-_.]+", "-", requirement.name).lower())
            if version is None:
                lacking.add(f"{one.name} {one.version} needs {requirement}")
            elif not requirement.specifier.contains(version, prereleases=True):
                other.add(f"{one.name} asks for {requirement}, installed is {version}")
    if lacking:
        refuse(
            f"{'; '.join(sorted(lacking))}, which nobody installed. Lock the requirements with the wheels you hold, "
            "gx10 images lock NAME --wheels DIRECTORY."
        )
    return sorted(other)


def check_files(mods: dict[str, dict[str, dict[str, "str | None"]]], site: Path) -> None:
    """Compare the files that the mods touched with what was recorded when they were applied."""
    for name, record in mods.items():
        for file, digest in record["files"].items():
            path = site / file
            if (hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None) != digest:
                refuse(f"mod {name}: {path} is not the file that the mod left. Rebuild the image from its pins.")


def main() -> None:
    """Check, then print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="read files instead of importing them")
    parser.add_argument("--inspect", action="store_true", help="also import the model classes that are expected")
    options = parser.parse_args()
    site = Path(sysconfig.get_path("purelib"))
    expected = json.loads((HERE / "expected.json").read_text())
    architectures = expected.pop("architectures", [])
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
        found["other_versions_than_asked_for"] = check_requirements()
        prove_vllm(architectures if options.inspect else [])
        found["mods"] = {name: prove_mod(name) for name in mods}
    print(json.dumps(found))


if __name__ == "__main__":
    main()

"""The torch trap, and what a change to an image rebuilds: real builds on the lab's head, with stand-ins of a few bytes.

vLLM's wheel says torch==2.10.0 and was built with 2.11.0+cu130; an index offers 2.10.0 as a CPU build. That is how
images came about whose container is Up and whose /health never answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gx10.lab.lab import Lab

from .deployment import PROJECT
from .tiny_image import Tiny

pytestmark = pytest.mark.lab

TORCH = "import torch; print(torch.__version__, torch.version.cuda)"
REINSTALL = r"\nCOPY pins/torch\.txt \S+\nRUN [^\n]*\\\n[^\n]*--force-reinstall[^\n]*\\\n[^\n]*\n"
GUARDS = r"--override \S+ | ?--no-deps| ?--require-hashes"


@pytest.fixture(scope="module")
def lab() -> Lab:
    """The lab, up; nothing has to be deployed to it."""
    lab = Lab.for_checkout(PROJECT)
    lab.up()
    return lab


@pytest.fixture
def tiny(lab: Lab, tmp_path: Path) -> Iterator[Tiny]:
    """The tiny image, not built yet."""
    tiny = Tiny.at(lab, tmp_path)
    yield tiny
    tiny.remove()


def test_the_dockerfile_as_it_is_ends_at_the_one_torch(tiny: Tiny) -> None:
    assert tiny.python(tiny.built(), TORCH) == "2.11.0+cu130 13.0"


def test_without_guards_and_reinstall_it_lands_on_the_cpu_build_and_the_build_fails_naming_the_pitfall(
    tiny: Tiny,
) -> None:
    tiny.rewritten("Dockerfile", REINSTALL, "\n")
    tiny.rewritten("Dockerfile", GUARDS, "")
    status, log, _ = tiny.build()
    assert status != 0
    assert "torch==2.10.0+cpu" in log, log[-3000:]
    assert "image refused: torch is 2.10.0+cpu, expected exactly 2.11.0+cu130" in log
    assert "the metadata of a wheel pulled another torch, usually torch 2.10.0+cpu" in log


def test_without_the_reinstall_alone_there_is_no_torch_rather_than_another(tiny: Tiny) -> None:
    tiny.rewritten("Dockerfile", REINSTALL, "\n")
    status, log, _ = tiny.build()
    assert status != 0
    assert "image refused: torch cannot be imported" in log, log[-3000:]


def test_without_guards_the_reinstall_alone_repairs_it(tiny: Tiny) -> None:
    tiny.rewritten("Dockerfile", GUARDS, "")
    assert tiny.python(tiny.built(), TORCH) == "2.11.0+cu130 13.0"


def test_the_same_inputs_built_twice_are_one_image_and_a_mod_reaches_its_own_layer_alone(tiny: Tiny) -> None:
    first = tiny.built()
    layers = tiny.layers(first)
    assert tiny.built() == first
    assert tiny.layers(first) == layers
    tiny.rewritten("mods/tiny/prove.py", "'flags'", "'flag'")
    second = tiny.built()
    after = tiny.layers(second)
    assert second != first
    assert len(after) == len(layers)
    same = [one == other for one, other in zip(layers, after, strict=True)]
    # Below the mods everything is equal; the mods' own layer is another one.
    at = same.index(False)
    assert at == len(layers) - LAYERS_FROM_MODS
    told = tiny.python(second, "import json; print(*json.load(open('/opt/gx10/mods.json')))")
    assert told == "tiny"


def test_both_targets_share_every_layer_below_the_variant(tiny: Tiny) -> None:
    node, mimo = tiny.built(), tiny.targeting("vllm-node-mimo").built()
    below, above = tiny.layers(node), tiny.layers(mimo)
    shared = next(at for at, pair in enumerate(zip(below, above, strict=False)) if pair[0] != pair[1])
    assert shared == len(below) - LAYERS_OF_A_STAGE
    major = "import transformers, torch; print(transformers.major, torch.__version__)"
    assert tiny.python(node, major) == "4 2.11.0+cu130"
    assert tiny.python(mimo, major) == "5 2.11.0+cu130"


#: COPY mods, WORKDIR, apply, prove.
LAYERS_FROM_MODS = 4
#: The above, and COPY of the programs and what is expected.
LAYERS_OF_A_STAGE = LAYERS_FROM_MODS + 1

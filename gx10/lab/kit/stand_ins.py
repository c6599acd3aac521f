"""Packages of the engine image that the lab replaces by empty ones of the same name and version.

The lab runs the very torch of a GX10 (2.11.0+cu130) on a CPU. Its CUDA libraries weigh 2.7 GB, Triton 0.6 GB, and no
host has a GPU to use them on: an image four times as large would be built, archived, sent and loaded for nothing. What
torch does need of them is that the dynamic loader finds every library and every function it was linked against.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from .elf import Import, stand_in_library, undefined_symbols
from .wheel import Wheel

_SUMMARY = "Empty stand-in of the lab; the real package is of no use without a GPU"

# numba compiles one n-gram drafter that the lab never uses; vLLM imports these names whether it does or not.
_NUMBA = '''"""Stand-in for numba: what it would compile is plain Python and runs as such."""

prange = range


def njit(*arguments, **options):
    """Return the function as it is, however the decorator is written."""
    if len(arguments) == 1 and callable(arguments[0]):
        return arguments[0]
    return lambda function: function


jit = njit


def get_num_threads():
    return 1


def set_num_threads(count):
    pass
'''


@dataclass(frozen=True)
class StandIn:
    """One package: name, the version that the others ask for, and what of it has to be there."""

    name: str
    version: str
    libraries: tuple[str, ...] = ()
    """Shared objects, by path below site-packages; they export what torch imports from them."""

    prefixes: tuple[str, ...] = ()
    """Begin of the names that belong to these libraries where the importer states no version."""

    modules: tuple[tuple[str, str], ...] = ()
    """Python files and their text."""


STAND_INS = (
    StandIn("nvidia-cublas", "13.1.0.3", ("nvidia/cu13/lib/libcublas.so.13", "nvidia/cu13/lib/libcublasLt.so.13")),
    StandIn("nvidia-cuda-cupti", "13.0.85", ("nvidia/cu13/lib/libcupti.so.13",)),
    StandIn("nvidia-cuda-nvrtc", "13.0.88", ("nvidia/cu13/lib/libnvrtc.so.13",)),
    StandIn("nvidia-cudnn-cu13", "9.19.0.56", ("nvidia/cudnn/lib/libcudnn.so.9",)),
    StandIn("nvidia-cufft", "12.0.0.61", ("nvidia/cu13/lib/libcufft.so.12",)),
    StandIn("nvidia-cufile", "1.15.1.6", ("nvidia/cu13/lib/libcufile.so.0",), ("cuFile",)),
    StandIn("nvidia-curand", "10.4.0.35", ("nvidia/cu13/lib/libcurand.so.10",), ("curand",)),
    StandIn("nvidia-cusolver", "12.0.4.66", ("nvidia/cu13/lib/libcusolver.so.12",)),
    StandIn("nvidia-cusparse", "12.6.3.3", ("nvidia/cu13/lib/libcusparse.so.12",)),
    StandIn("nvidia-cusparselt-cu13", "0.8.0", ("nvidia/cusparselt/lib/libcusparseLt.so.0",), ("cusparseLt",)),
    StandIn("nvidia-nccl-cu13", "2.28.9", ("nvidia/nccl/lib/libnccl.so.2",), ("nccl",)),
    StandIn("nvidia-nvshmem-cu13", "3.4.5", ("nvidia/nvshmem/lib/libnvshmem_host.so.3",), ("nvshmem",)),
    StandIn("nvidia-nvjitlink", "13.0.88"),
    StandIn("nvidia-nvtx", "13.0.85"),
    StandIn("cuda-bindings", "13.5.0"),
    StandIn("triton", "3.6.0"),
    StandIn("numba", "0.65.0", modules=(("numba/__init__.py", _NUMBA),)),
    StandIn("llvmlite", "0.47.0"),
    # vLLM does without where it cannot import it; 150 MB of video codecs.
    StandIn("opencv-python-headless", "5.0.0.93"),
    # Offload plug-ins for accelerators; vLLM's CPU kernels use the OpenMP that torch brings.
    StandIn("intel-openmp", "2024.2.1"),
    StandIn("intel-cmplr-lib-ur", "2024.2.1"),
)


def _imports_of_torch(torch_wheel: Path) -> set[Import]:
    """What torch's shared objects import, from its wheel; unpacks one at a time, 0.5 GB at most."""
    imports: set[Import] = set()
    with zipfile.ZipFile(torch_wheel) as archive, TemporaryDirectory(dir=torch_wheel.parent) as scratch:
        for member in archive.namelist():
            if member.startswith("torch/lib/") and ".so" in member:
                library = Path(archive.extract(member, scratch))
                imports |= undefined_symbols(library)
                library.unlink()
    return imports


def _exports(library: str, prefixes: tuple[str, ...], imports: set[Import]) -> dict[str, str | None]:
    soname = Path(library).name
    return {
        one.name: one.version
        for one in sorted(imports, key=lambda one: one.name)
        if one.library == soname or (one.library is None and prefixes and one.name.startswith(prefixes))
    }


def stand_in_wheels(torch_wheel: Path) -> Iterator[Wheel]:
    """Yield the stand-ins for the torch in `torch_wheel`."""
    imports = _imports_of_torch(torch_wheel)
    for one in STAND_INS:
        files = {
            library: stand_in_library(Path(library).name, _exports(library, one.prefixes, imports))
            for library in one.libraries
        }
        files |= {path: text.encode() for path, text in one.modules}
        yield Wheel(one.name, one.version, _SUMMARY, files)

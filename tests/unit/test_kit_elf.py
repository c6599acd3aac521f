"""The lab's stand-in libraries satisfy the dynamic loader and pretend nothing."""

import ctypes
import platform
from pathlib import Path

import pytest

from gx10.lab.kit.elf import stand_in_library, undefined_symbols

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the lab's libraries are for x86_64")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    path = tmp_path / "libstand.so.3"
    path.write_bytes(stand_in_library("libstand.so.3", {"plainCall": None, "versionedCall": "libstand.so.3"}))
    return path


def test_a_stand_in_loads_and_every_function_of_it_reports_failure(library: Path) -> None:
    loaded = ctypes.CDLL(str(library))
    assert loaded.plainCall() == 1
    assert loaded.versionedCall() == 1


def test_a_stand_in_offers_the_symbol_version_that_callers_were_linked_against(library: Path) -> None:
    loaded = ctypes.CDLL(str(library))
    find = ctypes.CDLL(None).dlvsym
    find.restype = ctypes.c_void_p
    handle = ctypes.c_void_p(loaded._handle)
    assert find(handle, b"versionedCall", b"libstand.so.3")
    assert not find(handle, b"versionedCall", b"libstand.so.4")


def test_a_stand_in_without_functions_loads(tmp_path: Path) -> None:
    empty = tmp_path / "libempty.so.1"
    empty.write_bytes(stand_in_library("libempty.so.1", {}))
    ctypes.CDLL(str(empty))
    assert undefined_symbols(empty) == set()


def test_imports_are_read_with_the_library_that_their_version_names() -> None:
    ctypes.CDLL("libm.so.6")
    maps = Path("/proc/self/maps").read_text()
    libm = next(line.split()[-1] for line in maps.splitlines() if line.endswith("/libm.so.6"))
    imports = undefined_symbols(Path(libm))
    assert {one.version for one in imports if one.library == "libc.so.6"} >= {"GLIBC_2.2.5"}
    assert not {one.library for one in imports} - {"libc.so.6", "ld-linux-x86-64.so.2", None}


def test_what_is_no_shared_object_is_refused_by_name(tmp_path: Path) -> None:
    text = tmp_path / "readme"
    text.write_text("no library, and long enough to be one" * 3)
    with pytest.raises(ValueError, match="readme is not a 64-bit"):
        undefined_symbols(text)

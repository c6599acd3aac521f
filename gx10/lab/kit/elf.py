"""Just enough ELF to ask a shared object what it imports and to write one that exports names.

Only what 64-bit little-endian shared objects of glibc systems need. The writer exists because the lab must not
depend on a compiler: a fresh machine has none, and a stand-in needs no code worth compiling.
"""

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_SHT_DYNSYM, _SHT_VERSYM, _SHT_VERNEED = 11, 0x6FFFFFFF, 0x6FFFFFFE
_PAGE = 0x1000
# A shared object is mapped page by page; code and the dynamic section need different rights, so each starts a page.
_PT_LOAD, _PT_DYNAMIC, _PT_GNU_STACK = 1, 2, 0x6474E551
_DT_HASH, _DT_STRTAB, _DT_SYMTAB, _DT_STRSZ, _DT_SYMENT, _DT_SONAME = 4, 5, 6, 10, 11, 14
_DT_VERSYM, _DT_VERDEF, _DT_VERDEFNUM = 0x6FFFFFF0, 0x6FFFFFFC, 0x6FFFFFFD
_EM_X86_64 = 62
# mov eax, 1; ret: whoever calls a stand-in gets an error code, never a pretended success.
_RETURN_ERROR = bytes.fromhex("b801000000c3") + b"\xcc" * 10


@dataclass(frozen=True)
class Import:
    """One symbol a shared object expects from elsewhere, with the version and library it was linked against, if any."""

    name: str
    version: str | None
    library: str | None


def _string(table: memoryview, offset: int) -> str:
    end = offset
    while table[end]:
        end += 1
    return bytes(table[offset:end]).decode()


def _sections(image: memoryview) -> list[tuple[int, memoryview, int, int]]:
    """The (type, content, link, info) of every section."""
    table, entry, count = (*struct.unpack_from("<Q", image, 40), *struct.unpack_from("<HH", image, 58))
    found = []
    for index in range(count):
        kind, _, _, offset, size, link, info = struct.unpack_from("<IQQQQII", image, table + index * entry + 4)
        found.append((kind, image[offset : offset + size] if kind != 8 else image[:0], link, info))
    return found


def _versions(section: memoryview, strings: memoryview, count: int) -> dict[int, tuple[str, str]]:
    """Version index -> (version, the library file that it was linked from)."""
    found = {}
    at = 0
    for _ in range(count):
        _, entries, file, aux, following = struct.unpack_from("<HHIII", section, at)
        here = at + aux
        for _ in range(entries):
            _, _, index, name, step = struct.unpack_from("<IHHII", section, here)
            found[index] = (_string(strings, name), _string(strings, file))
            here += step
        at += following
    return found


def undefined_symbols(path: Path) -> set[Import]:
    """Return what the shared object at `path` imports; ValueError when it is not a 64-bit ELF file."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        image = memoryview(mapped)
        try:
            return _undefined(image, path)
        finally:
            image.release()


def _undefined(image: memoryview, path: Path) -> set[Import]:
    if bytes(image[:6]) != b"\x7fELF\x02\x01":
        raise ValueError(f"{path} is not a 64-bit little-endian ELF file")
    sections = _sections(image)
    symbols: list[tuple[int, int, int]] = []
    indices: memoryview | None = None
    versions: dict[int, tuple[str, str]] = {}
    strings = image[:0]
    for kind, content, link, info in sections:
        if kind == _SHT_DYNSYM:
            strings = sections[link][1]
            symbols = [(n, i, s) for n, i, _, s, _, _ in struct.iter_unpack("<IBBHQQ", content)]
        elif kind == _SHT_VERSYM:
            indices = content
        elif kind == _SHT_VERNEED:
            versions = _versions(content, sections[link][1], info)
    imports = set()
    for index, (name, _, section) in enumerate(symbols):
        if section == 0 and name:
            which = struct.unpack_from("<H", indices, index * 2)[0] & 0x7FFF if indices is not None else 0
            imports.add(Import(_string(strings, name), *versions.get(which, (None, None))))
    return imports


def _hash(name: str) -> int:
    """The System V ABI's symbol hash."""
    value = 0
    for byte in name.encode():
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ (high >> 24)) & ~high & 0xFFFFFFFF
    return value


def _hash_table(names: list[str]) -> bytes:
    """The symbol table's System V hash table; symbol 0 is the reserved empty one."""
    buckets = max(1, len(names) // 2)
    heads, chains = [0] * buckets, [0] * (len(names) + 1)
    for index, name in enumerate(names, start=1):
        slot = _hash(name) % buckets
        chains[index], heads[slot] = heads[slot], index
    return struct.pack(f"<{2 + buckets + len(chains)}I", buckets, len(chains), *heads, *chains)


def _aligned(offset: int, to: int) -> int:
    return (offset + to - 1) // to * to


class _Strings:
    """A string table under construction; offset 0 is the empty string."""

    def __init__(self) -> None:
        self.content = bytearray(b"\0")

    def add(self, text: str) -> int:
        at = len(self.content)
        self.content.extend(text.encode() + b"\0")
        return at


def stand_in_library(soname: str, exports: Mapping[str, str | None]) -> bytes:
    """Return an x86_64 shared object named `soname` in which every exported name is a function that fails.

    `exports` maps a function to the symbol version that its callers ask for, or to None where they ask for none. The
    versions have to be there: glibc's loader aborts when a library that a versioned symbol names defines no version.
    """
    strings = _Strings()
    soname_at = strings.add(soname)
    names = [strings.add(name) for name in exports]
    # Index 0 is "local", 1 "global, no version"; a library's own versions start at 2, after its base definition.
    versions = sorted({version for version in exports.values() if version})
    index_of = {None: 1} | {version: 2 + at for at, version in enumerate(versions)}
    definitions = b"".join(
        struct.pack("<HHHHIIIII", 1, base, index, 1, _hash(name), 20, 28 if name != last else 0, strings.add(name), 0)
        for base, index, name, last in (
            (1, 1, soname, None if versions else soname),
            *((0, index_of[version], version, versions[-1]) for version in versions),
        )
    )
    table = _hash_table(list(exports))
    version_indices = struct.pack(f"<{1 + len(exports)}H", 0, *(index_of[version] for version in exports.values()))

    hash_at = 64 + 4 * 56
    symbols_at = _aligned(hash_at + len(table), 8)
    indices_at = symbols_at + 24 * (len(exports) + 1)
    definitions_at = _aligned(indices_at + len(version_indices), 8)
    strings_at = definitions_at + len(definitions)
    code_at = _aligned(strings_at + len(strings.content), 16)
    read_end = code_at + len(_RETURN_ERROR)
    dynamic_at = _aligned(read_end, _PAGE)

    # binding GLOBAL, type FUNC, default visibility, any defined section: there is no section table to look it up in
    symbols = b"\0" * 24 + b"".join(struct.pack("<IBBHQQ", name, 0x12, 0, 1, code_at, 6) for name in names)
    dynamic = struct.pack(
        "<20Q",
        *(_DT_SONAME, soname_at, _DT_HASH, hash_at, _DT_SYMTAB, symbols_at, _DT_SYMENT, 24),
        *(_DT_STRTAB, strings_at, _DT_STRSZ, len(strings.content), _DT_VERSYM, indices_at),
        *(_DT_VERDEF, definitions_at, _DT_VERDEFNUM, 1 + len(versions), 0, 0),
    )
    header = b"\x7fELF\x02\x01\x01" + b"\0" * 9
    header += struct.pack("<HHIQQQIHHHHHH", 3, _EM_X86_64, 1, 0, 64, 0, 0, 64, 56, 4, 64, 0, 0)
    segments = b"".join(
        struct.pack("<IIQQQQQQ", kind, flags, at, at, at, size, size, align)
        for kind, flags, at, size, align in (
            (_PT_LOAD, 5, 0, read_end, _PAGE),
            (_PT_LOAD, 6, dynamic_at, len(dynamic), _PAGE),
            (_PT_DYNAMIC, 6, dynamic_at, len(dynamic), 8),
            (_PT_GNU_STACK, 6, 0, 0, 16),
        )
    )
    out = bytearray(dynamic_at)
    for at, part in (
        (0, header + segments),
        (hash_at, table),
        (symbols_at, symbols),
        (indices_at, version_indices),
        (definitions_at, definitions),
        (strings_at, bytes(strings.content)),
        (code_at, _RETURN_ERROR),
    ):
        out[at : at + len(part)] = part
    return bytes(out + dynamic)

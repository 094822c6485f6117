"""Which symbol of a library an address in its data belongs to. See: elf(5); 64-bit only.

The data of a library lies in memory as in its file, from the address of its first mapping on; what
is zero at first (.bss) follows in a mapping without a name. A library's addresses count from its
beginning; those of a program that is always mapped at one place (Debian's Pythons) count from 0.
Stripped libraries name what they export, and nothing else; what has no symbol is named by its
section (`.got.plt`: the addresses of functions of other libraries, each filled in when it is first
called).
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from functools import cache
from pathlib import Path
from typing import NamedTuple

_OBJECT_KINDS = (1, 5)  # data, common
_SYMTABS = (2, 11)
_LOAD, _WRITE = 1, 1


class Symbol(NamedTuple):
    """A named piece of a library's data; `offset` from the start of the file's first mapping."""

    offset: int
    size: int
    name: str


class Library(NamedTuple):
    """What a library's file says of its data.

    Attributes:
        end: of its last part in memory, from the start of its first mapping.
    """

    end: int
    symbols: list[Symbol]
    sections: list[Symbol]


def find(path: str, offset: int) -> Symbol | None:
    """The symbol, or else the section, that an offset lies in; None if there is neither."""
    library = read(path)
    return _in(library.symbols, offset) or _in(library.sections, offset)


@cache
def read(path: str) -> Library:
    """A library's file; empty where it cannot be read."""
    try:
        return _parse(Path(path).read_bytes())
    except (OSError, struct.error, IndexError, ValueError):
        return Library(0, [], [])


def _in(table: list[Symbol], offset: int) -> Symbol | None:
    number = bisect_right(table, (offset, 1 << 62, "")) - 1
    if number < 0 or offset >= table[number].offset + table[number].size:
        return None
    return table[number]


def _parse(data: bytes) -> Library:
    if data[:5] != b"\x7fELF\x02":
        return Library(0, [], [])
    programs, sections = struct.unpack_from("<QQ", data, 32)
    *_, program_size, program_count, size, count, names = struct.unpack_from("<HHHHHH", data, 52)
    segments = [
        struct.unpack_from("<IIQQQQQQ", data, programs + n * program_size)
        for n in range(program_count)
    ]
    loads = [(s[3] - s[2], s[3] + s[6]) for s in segments if s[0] == _LOAD]
    first = loads[0][0] if loads else 0  # where the file's first byte belongs
    end = max((end - first for _, end in loads), default=0)
    heads = [struct.unpack_from("<IIQQQQIIQQ", data, sections + n * size) for n in range(count)]
    symbols: set[Symbol] = set()
    parts = []
    for name, kind, flags, address, begin, length, link, *_ in heads:
        if kind in _SYMTABS:
            symbols |= _symbols(data, begin, length, heads[link][4], first)
        if flags & _WRITE and address and length:
            parts.append(Symbol(address - first, length, _text(data, heads[names][4] + name)))
    return Library(end, sorted(symbols), sorted(parts))


def _symbols(data: bytes, begin: int, length: int, names: int, first: int) -> set[Symbol]:
    return {
        Symbol(value - first, extent, _text(data, names + name))
        for name, info, _, section, value, extent in struct.iter_unpack(
            "<IBBHQQ", data[begin : begin + length]
        )
        if section and extent and info & 15 in _OBJECT_KINDS
    }


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(0, at)].decode(errors="replace")

"""Names for the data of a program or library, from ELF files that are made here."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from zygote.inspect import symbols
from zygote.inspect.symbols import Symbol

PROGRAM = struct.Struct("<IIQQQQQQ")
SECTION = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")
NAMES = b"\0.data\0.symtab\0PyType_Type\0main\0"


def elf(place: int) -> bytes:
    """A file mapped at `place`: code at its beginning, data from 0x2000 on, zeros until 0x3800."""
    programs = PROGRAM.pack(1, 5, 0, place, place, 0x1000, 0x1000, 0x1000)
    programs += PROGRAM.pack(1, 6, 0x1000, place + 0x2000, 0, 0x1000, 0x1800, 0x1000)
    table = SYMBOL.pack(0, 0, 0, 0, 0, 0)
    table += SYMBOL.pack(NAMES.index(b"PyType"), 0x11, 0, 1, place + 0x2100, 0x80)
    table += SYMBOL.pack(NAMES.index(b"main"), 0x12, 0, 1, place + 0x40, 0x80)  # a function
    at = 64 + len(programs)
    heads = SECTION.pack(1, 1, 3, place + 0x2000, 0x1000, 0x1000, 0, 0, 8, 0)
    heads += SECTION.pack(7, 2, 0, 0, at, len(table), 2, 1, 8, SYMBOL.size)
    heads += SECTION.pack(0, 3, 0, 0, at + len(table), len(NAMES), 0, 0, 1, 0)
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    head += struct.pack("<HHIQQQ", 2 if place else 3, 62, 1, 0, 64, at + len(table) + len(NAMES))
    head += struct.pack("<IHHHHHH", 0, 64, PROGRAM.size, 2, SECTION.size, 3, 2)
    return head + programs + table + NAMES + heads


@pytest.mark.parametrize("place", [0, 0x400000], ids=["library", "program at one place"])
def test_data_is_named_wherever_the_file_says_it_is_mapped(tmp_path: Path, place: int) -> None:
    file = tmp_path / "python"
    file.write_bytes(elf(place))
    assert symbols.read(str(file)).end == 0x3800
    assert symbols.find(str(file), 0x2110) == Symbol(0x2100, 0x80, "PyType_Type")
    assert symbols.find(str(file), 0x2200) == Symbol(0x2000, 0x1000, ".data")
    assert symbols.find(str(file), 0x40) is None
    assert symbols.find(str(file), 0x3000) is None


def test_file_that_breaks_off_has_no_names(tmp_path: Path) -> None:
    whole = elf(0)
    for length in (0, 16, 64, 150, 300, len(whole) - 1):
        file = tmp_path / str(length)
        file.write_bytes(whole[:length])
        assert symbols.read(str(file)) == symbols.Library(0, [], []), length

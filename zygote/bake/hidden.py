"""Counts that the walk over objects does not see, because no object holds them.

Facts, CPython 3.12 to 3.14:

- All instances of a class share one table of attribute names, `ht_cached_keys` of the class, with a
  reference count of its own in its first word: it is raised and lowered as instances get and lose a
  `__dict__`. 3.12 and 3.13 leave it alone at 0xFFFFFFFF, 3.14 below zero. Only these tables may be
  given that count: one that belongs to a single dict is copied with its count by `dict.copy()`, and
  the copy would never be freed.
- That table has room for names to come, and each instance made takes one from the room, down to
  one: the first thirty of a class write to it. A class whose instances have named attributes
  already is made as if they were.
- A code object keeps what it was once asked for (`co_code`, `co_varnames`, `co_cellvars`,
  `co_freevars`) in a block beside it.
- In 3.14 an instruction that loads a constant becomes, when it first runs, one for a constant that
  is counted (LOAD_CONST_MORTAL: it counts whatever the count says) or one for an immortal constant,
  which writes nothing. Code that is warm has the first kind, and its constants are immortal now: so
  it is given the second.

Offsets are found out on things of our own; what is not found is left alone.
"""

from __future__ import annotations

import ctypes
import opcode
import sys
from collections.abc import Iterator
from types import CodeType
from typing import Any

_WORD = 8
_HEAP_TYPE = 1 << 9
"""Py_TPFLAGS_HEAPTYPE."""
_KEYS_IMMORTAL = 0xFFFFFFFF if sys.version_info < (3, 14) else 1 << 63
_KEYS_MOST = 1 << 24
"""A count beyond this is none: the offset was wrong."""
_ROOM, _ENTRIES = 16, 24
"""In a table of names."""
_ASKED = 4
"""Words in the block beside a code object."""


def _read_lengths() -> dict[int, int]:
    """Instructions -> bytes to the next one. Those that tools put in are not among them."""
    caches = getattr(opcode, "_inline_cache_entries", {})
    special = getattr(opcode, "_specialized_opmap", {})
    kinds = {kind: name for name, all_of in _kinds().items() for kind in all_of}
    every = {**opcode.opmap, **special}.items()
    return {
        number: 2 + 2 * caches.get(kinds.get(name, name), 0)
        for name, number in every
        if number <= 255 and not name.startswith(("INSTRUMENTED_", "ENTER_EXECUTOR"))
    }


def _kinds() -> dict[str, list[str]]:
    """Instructions -> what they may become."""
    return getattr(opcode, "_specializations", {})


_COUNTING, _BORROWING = (
    getattr(opcode, "_specialized_opmap", {}).get(f"LOAD_CONST_{kind}", 0)
    for kind in ("MORTAL", "IMMORTAL")
)
_LENGTHS = _read_lengths() if _COUNTING and _BORROWING else {}


class _Specimen:
    def __init__(self) -> None:
        self.one = self.two = 0


class Hidden:
    """Offsets, found once; 0 where there is none."""

    def __init__(self) -> None:
        self.keys = _keys_offset()
        self.asked = _asked_offset()
        self.shrinks = bool(self.keys) and _shrinks(self.keys)
        self.loads = bool(_LENGTHS) and _is_where_we_think()

    def keep_keys(self, kind: type) -> None:
        """Give the attribute names that instances of a class share a count that stays."""
        if not self.keys or not kind.__flags__ & _HEAP_TYPE:
            return
        keys = _word(id(kind) + self.keys).value
        if not keys or not 0 < _word(keys).value < _KEYS_MOST:
            return
        _word(keys).value = _KEYS_IMMORTAL
        if self.shrinks and _word(keys + _ENTRIES).value:
            _word(keys + _ROOM).value = min(_word(keys + _ROOM).value, 1)

    def asked_of(self, code: CodeType) -> Iterator[Any]:
        """What a code object made when it was asked, and keeps."""
        block = _word(id(code) + self.asked).value if self.asked else 0
        if block:
            for number in range(_ASKED):
                at = _word(block + number * _WORD).value
                if at:
                    yield ctypes.cast(at, ctypes.py_object).value

    def keep_constants(self, code: CodeType) -> None:
        """Load constants, immortal now, without counting them."""
        if not self.loads:
            return
        instructions: bytes = code._co_code_adaptive  # type: ignore[attr-defined]
        if _COUNTING not in instructions:
            return
        begin = id(code) + CodeType.__basicsize__
        for at in _loads(instructions):
            ctypes.c_uint8.from_address(begin + at).value = _BORROWING


def _loads(instructions: bytes) -> list[int]:
    """Where constants are loaded and counted; nowhere if not all of it is understood."""
    found, at = [], 0
    while at < len(instructions):
        number = instructions[at]
        if number == _COUNTING:
            found.append(at)
        if number not in _LENGTHS:
            return []
        at += _LENGTHS[number]
    return found


def _word(at: int) -> ctypes.c_uint64:
    return ctypes.c_uint64.from_address(at)


def _keys_offset() -> int:
    """Of `ht_cached_keys` in a class."""
    names = vars(_Specimen())  # asked for, so that there is a dict, which names the table
    keys = _word(id(names) + 32).value
    kind: object = _Specimen
    size = type(kind).__basicsize__
    found = [at for at in range(0, size, _WORD) if _word(id(_Specimen) + at).value == keys]
    return found[0] if len(found) == 1 else 0


def _shrinks(offset: int) -> bool:
    """Whether an instance takes one from the room, and the names are counted where we think."""

    class Fresh:
        def __init__(self) -> None:
            self.one = self.two = self.three = 0

    keys = _word(id(Fresh) + offset).value
    seen = []
    kept = []
    for _ in range(3):
        kept.append(Fresh())
        seen.append((_word(keys + _ROOM).value, _word(keys + _ENTRIES).value))
    (room, names), *_ = seen
    return names == 3 and seen == [(room, 3), (room - 1, 3), (room - 2, 3)] and room > 2


def _asked_offset() -> int:
    """Of the word in a code object that is zero until it is first asked for its variables."""
    code = compile("lambda a: a", "specimen", "eval")
    offsets = range(0, CodeType.__basicsize__ // _WORD * _WORD, _WORD)
    before = [_word(id(code) + at).value for at in offsets]
    names = code.co_varnames
    found = [
        at
        for at, old in zip(offsets, before, strict=True)
        if _word(id(code) + at).value and not old
    ]
    if len(found) != 1:
        return 0
    block = _word(id(code) + found[0]).value
    held = [_word(block + number * _WORD).value for number in range(_ASKED)]
    return found[0] if id(names) in held else 0


def _is_where_we_think() -> bool:
    """Whether instructions are the end of a code object, and a warm one counts its constant."""
    scope: dict[str, Any] = {}
    exec("def constant():\n    return 0.125\n", scope)
    for _ in range(100):
        scope["constant"]()
    code: CodeType = scope["constant"].__code__
    instructions: bytes = code._co_code_adaptive  # type: ignore[attr-defined]
    there = ctypes.string_at(id(code) + CodeType.__basicsize__, len(instructions))
    return there == instructions and [
        code.co_consts[instructions[at + 1]] for at in _loads(there)
    ] == [0.125]

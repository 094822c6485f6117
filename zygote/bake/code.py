"""Moving code objects in memory, with what the interpreter has noted in them.

Facts about code objects (CPython 3.11 to 3.14, builds with a GIL):

- One is a block of `__basicsize__ + ob_size * __itemsize__` bytes with no pointer into itself, and
  no collector header; its instructions, with their inline caches, are its end.
- `code.replace()` makes a copy that has learnt nothing. A copy of the block has learnt the same:
  specialised instructions name versions of functions and types, never a place in the code.
- Whoever calls a function finds its code in the function object; a function made by another one
  finds it among that one's constants. Frames that run, and generators that wait, keep the old one.
- While it runs, counters of instructions that have not been specialised are written, and from
  Python 3.13 on the history of each branch; other code is only read.
- Equality and hash go by content, so a dict keyed by code objects finds the copy, too.
- Two blocks then share what they point to (constants, names, lazily made views): the original must
  never be freed, and so neither may the copy, which is why it gets a count that does not run out.

All offsets are found out on a function of our own, and tried on it, before any other is touched.
"""

from __future__ import annotations

import ctypes
import opcode
import os
import sys
import sysconfig
import weakref
from collections.abc import Iterable
from types import CodeType, FunctionType
from typing import NamedTuple

from zygote.sys import backed

_MANY = 1 << 29
"""References that nobody counts down, below what any version takes for immortal."""
_WORD = 8


def _read_rooms() -> dict[int, int]:
    """Instructions that write nothing -> bytes of notes behind them; {} where nobody knows."""
    special = getattr(opcode, "_specialized_opmap", {})  # from 3.13
    notes = getattr(opcode, "_inline_cache_entries", {})
    if not special:
        return {}
    special_of = opcode._specializations  # type: ignore[attr-defined]
    found = {
        number: 0
        for name, number in opcode.opmap.items()
        if name not in notes and name not in special_of
    }
    for name, kinds in special_of.items():
        found |= {special[kind]: 2 * notes.get(name, 0) for kind in kinds if kind in special}
    return found


_ROOM = _read_rooms()


class Layout(NamedTuple):
    """Where things lie in this interpreter's objects, in bytes.

    Attributes:
        code: of a function's code, in the function object.
        items: of a tuple's first item, in the tuple.
    """

    code: int
    items: int


def layout() -> Layout | str:
    """The layout here; or a line that says why code cannot be moved."""
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "a free-threaded Python keeps code for each thread"
    if compiles():
        return (
            "its just-in-time compiler, which is on, keeps the places of code in what it compiled"
        )
    if sys.maxsize < 2**32 or sys.implementation.name != "cpython":
        return "only known for 64-bit CPython"
    function = _specimen()
    offsets = [
        offset
        for offset in range(0, type(function).__basicsize__, _WORD)
        if _word(id(function) + offset).value == id(function.__code__)
    ]
    items = tuple.__basicsize__
    pair = (object(), object())
    if len(offsets) != 1 or [_word(id(pair) + items + _WORD * n).value for n in (0, 1)] != [
        id(one) for one in pair
    ]:
        return f"functions of Python {sys.version.split()[0]} look different from those known"
    found = Layout(offsets[0], items)
    return found if _holds(found) else "a moved function does not run as before"


def compiles() -> bool:
    """Whether machine code is made of what runs often. See: PYTHON_JIT, sys._jit (3.14)."""
    jit = getattr(sys, "_jit", None)
    if jit is not None:
        return bool(jit.is_enabled())
    built = "experimental-jit" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    return built and os.environ.get("PYTHON_JIT") != "0"


def movable(code: CodeType) -> bool:
    """Whether nothing but functions and constants knows where this one lies."""
    return weakref.getweakrefcount(code) == 0


def size(code: CodeType) -> int:
    """Bytes of its block."""
    kind = type(code)
    return kind.__basicsize__ + _word(id(code) + 2 * _WORD).value * kind.__itemsize__


def notes(code: CodeType) -> bytes | None:
    """What the interpreter has noted in it, where its way through it writes nothing more.

    It does write, and None is returned, where an instruction has room for notes and none was
    specialised, and, from Python 3.13 on, at each branch, whose history it keeps.
    """
    instructions: bytes = code._co_code_adaptive  # type: ignore[attr-defined]
    found, at = bytearray(), 0
    while at < len(instructions):
        room = _ROOM.get(instructions[at])
        if room is None:
            return None
        found += instructions[at + 2 : at + 2 + room]
        at += 2 + room
    return bytes(found)


def copy(codes: Iterable[CodeType]) -> dict[int, int]:
    """Copy code objects into memory of their own, one after the other, for good.

    Returns:
        Old address -> new address.
    Raises:
        OSError: no room.
    """
    codes = list(codes)
    at = backed.take(room(codes))
    moved: dict[int, int] = {}
    for one in codes:
        ctypes.memmove(at, id(one), size(one))
        ctypes.c_uint32.from_address(at).value |= _MANY
        moved[id(one)] = at
        at += _rounded(size(one))
    return moved


def room(codes: Iterable[CodeType]) -> int:
    """Bytes that copies of these take."""
    return sum(_rounded(size(one)) for one in codes)


def _rounded(count: int) -> int:
    """Objects begin at multiples of 16."""
    return -(-count // 16) * 16


def ask(one: CodeType) -> None:
    """Have it make what it makes when it is first asked, and keeps: the names of its variables."""
    _ = one.co_varnames, one.co_cellvars, one.co_freevars


def repoint(
    layout: Layout,
    moved: dict[int, int],
    functions: Iterable[FunctionType],
    codes: Iterable[CodeType],
) -> int:
    """Let functions, and the constants of code objects, name the copies.

    Returns:
        How many functions were changed.
    """
    count = 0
    for function in functions:
        word = _word(id(function) + layout.code)
        if word.value in moved:
            word.value = moved[word.value]
            count += 1
    for one in codes:
        # A code object that was moved shares its constants with its copy.
        constants = one.co_consts
        for number, constant in enumerate(constants):
            if id(constant) in moved:
                at = id(constants) + layout.items + _WORD * number
                _word(at).value = moved[id(constant)]
    return count


def _word(at: int) -> ctypes.c_uint64:
    return ctypes.c_uint64.from_address(at)


def _specimen() -> FunctionType:
    """A new function with code of its own, and some inside it."""
    scope: dict[str, FunctionType] = {}
    exec(
        "def add(numbers):\n"
        "    double = lambda number: number + number\n"
        "    return sum([double(number) for number in numbers])\n",
        scope,
    )
    return scope["add"]


_kept: list[object] = []


def _holds(layout: Layout) -> bool:
    """Move a warm function and what is inside it; whether it runs as before."""
    function = _specimen()
    original = function.__code__
    expected = [function(range(count)) for count in range(40)]
    inner = [constant for constant in original.co_consts if type(constant) is CodeType]
    codes = [original, *inner]
    moved = copy(codes)
    _kept.append(codes)
    repoint(layout, moved, [function], codes)
    return (
        id(function.__code__) == moved[id(original)] != id(original)
        and function.__code__ == original
        and all(id(c) in moved.values() for c in original.co_consts if type(c) is CodeType)
        and [function(range(count)) for count in range(40)] == expected
    )

"""Where CPython keeps what inside its objects: found out on objects of our own.

Offsets move between versions. Here each that may move is looked for in an object whose parts we
know: the word of a function that is the address of its code is where every function has its code.
So this speaks of the interpreter that runs *us*; a process that runs another version is told apart
by `matches`.

What has stood still from 3.11 to 3.14, on 64-bit builds with a GIL, is written down as it is:

- An object begins with its reference count (8 bytes; from 3.12 the low 4 count, and large values
  mean immortal) and its type. The collector's header is the 16 bytes before it, where its type has
  Py_TPFLAGS_HAVE_GC; the 16 before those are a managed dict's and weak references' (3.11: dict
  and values), where the type has such.
- dict: used, version or watchers, keys, values. Its keys are a block of their own: reference
  count 8, log2 of size 1, log2 of index bytes 1, kind 1, pad 1, version 4, usable 8, entries 8,
  then indices, then entries (kind 0 general: hash, key, value; 1 and 2 unicode: key, value).
- list: size, items. set: fill, used, mask, table. str: length, hash, state, and its text (wide ones
  elsewhere).
- A pool of pymalloc is 16 KiB, aligned; its head has 48 bytes: count 4 (+4), first free block,
  next, previous, arena 4, size class 4, offset of the first block never used 4, its largest 4. A
  block of class n has 16 * (n + 1) bytes; a free one begins with the address of the next.
"""

from __future__ import annotations

import ctypes
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

GC_HEAD = 16
POOL = 1 << 14
POOL_HEAD = 48
CLASSES = 32

TYPE_NAME, TYPE_SIZE = 24, 32
VAR_SIZE = 16
DICT_USED, DICT_VERSION, DICT_KEYS, DICT_VALUES = 16, 24, 32, 40
KEYS_HEAD = 32
LIST_ITEMS = 24
SET_TABLE = 40
STR_LENGTH, STR_HASH, STR_STATE = 16, 24, 32
STR_ASCII = sys.getsizeof("") - 1  # 40; 48 before 3.12
STR_WIDE = sys.getsizeof("".join(["\xe6", "\xf8"])) - 3  # 56; 72 before 3.12
MODULE_DICT = 16
PROXY_MAPPING = 16
IMMORTAL = 0xC0000000 if sys.version_info >= (3, 14) else 0xFFFFFFFF
"""Low words of reference counts from here up are never written; before 3.12 there is none."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Offsets in bytes from an object's address; -1 where it could not be found.

    Attributes:
        code_units: of the first instruction; its caches are among them.
        type_dict: of a class's dict.
        type_keys: of the keys that all instances of a class share.
        type_flags: of tp_flags.
    """

    func_code: int
    func_qualname: int
    func_module: int
    code_filename: int
    code_qualname: int
    code_units: int
    type_dict: int
    type_keys: int
    type_flags: int


class _Probe:
    def __init__(self) -> None:
        self.first = self.second = 0


def calibrate() -> Layout:
    """The layout of the interpreter that runs us."""

    def function() -> None: ...  # fmt: skip

    # A new str, whose address nobody else has.
    function.__module__ = "".join(["cali", "brate"])
    code: CodeType = function.__code__
    probe = _Probe()
    attributes = probe.__dict__  # now it has a dict that shares its keys with the class
    proxy = vars(_Probe)
    return Layout(
        func_code=_find(function, id(code)),
        func_qualname=_find(function, id(function.__qualname__), last=True),
        func_module=_find(function, id(function.__module__)),
        code_filename=_find(code, id(code.co_filename)),
        code_qualname=_find(code, id(code.co_qualname), last=True),
        code_units=CodeType.__basicsize__,
        type_dict=_find(_Probe, _word(id(proxy) + PROXY_MAPPING)),
        type_keys=_find(_Probe, _word(id(attributes) + DICT_KEYS)),
        type_flags=_find(_Probe, _Probe.__flags__),
    )


def matches(pid: int) -> bool:
    """Whether a process runs the same version of Python as we do.

    Raises: OSError if it is gone or hidden.
    """
    return version_of(pid) in (sys.version_info[:2], None)


def version_of(pid: int) -> tuple[int, int] | None:
    """Its version, by the names of its program and libraries; None if they do not tell."""
    maps = Path(f"/proc/{pid}/maps").read_text(errors="replace")
    named = re.search(r"/(?:lib)?python(3)\.(\d+)(?:\.so|$|\s|/)", maps, re.MULTILINE)
    return (int(named[1]), int(named[2])) if named else None


def _find(thing: object, wanted: int, *, last: bool = False) -> int:
    """The offset of a word in an object; `last`: of the last of several that are equal."""
    size = max(type(thing).__basicsize__, 0)
    found = [at for at in range(16, size, 8) if _word(id(thing) + at) == wanted]
    return found[-1 if last else 0] if found else -1


def _word(address: int) -> int:
    return ctypes.c_uint64.from_address(address).value

"""Why a page is no longer shared: the causes, and how a changed word tells which one it was.

A page is copied by its first write, whatever wrote it. So each word of a worker's copy that
differs from the zygote's page is asked where in which object it lies:

- in the first word of an object: its reference count;
- in the 16 bytes before: the collector's header;
- among the instructions of code: an inline cache or a counter of the adaptive interpreter;
- in a class beside its dict, in the version of a dict or its keys, in the hash of a str: caches
  that the interpreter keeps in objects;
- in a block that was free in the zygote, or in the heads that allocators keep: a hole of the
  floor's heap was filled, or something of the floor was freed;
- anywhere else in an object: the program wrote a value.

Two writes that undo each other leave no trace but the copy: a reference taken and given back. So
do most of a collection's; where it changed many headers, such pages are put down to it.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

from zygote.inspect import layout as at
from zygote.inspect.layout import Layout
from zygote.inspect.objects import Type

REFCOUNT = "reference count"
GC_HEADER = "gc header"
INLINE = "inline cache"
CACHE = "dict/type cache"
WRITTEN = "value written"
HOLE = "allocator hole"
FRESH = "fresh allocation"
SAME = "written with the same bytes"
FILE = "file mapping"
STATE = "interpreter state"
STACK = "stack"
ALONE = "nobody left to share with"
UNKNOWN = "unknown"


class Cause(NamedTuple):
    """What a cause means, and what helps."""

    meaning: str
    remedy: str


CAUSES = {
    REFCOUNT: Cause("a reference was taken or dropped",
                    "immortalise what is shared (Python 3.12), or do not touch it"),
    GC_HEADER: Cause("a collection visited the object", "bake with the stage `freeze`"),
    INLINE: Cause("the interpreter noted in the code what it saw there",
                  "run this code in `warm`, so that it is learnt and moved together"),
    CACHE: Cause("a version, a hash or a look-up was kept in a class, dict or str",
                 "run this in `warm`; do not set attributes of classes after the start"),
    WRITTEN: Cause("the program stored something in an object of the floor",
                   "store it in an object that the worker makes, or do it in `warm`"),
    HOLE: Cause("the worker allocated or freed between the floor's objects",
                "bake with the stage `seal`"),
    FRESH: Cause("the worker's own objects", "what it needs; a leak, if it grows"),
    SAME: Cause("written, and written back: a count up and down, a lock",
                "immortalise what is shared"),
    FILE: Cause("data of a library, or a file that only this worker maps",
                "load the library in the floor"),
    STATE: Cause("the interpreter's own state", "nothing: about the same in every process"),
    STACK: Cause("the C stack, and Python's frames", "nothing: about the same in every process"),
    ALONE: Cause("its zygote is gone or was baked anew, and no sibling is left",
                 "restart the worker: it starts from the zygote of now"),
    UNKNOWN: Cause("memory of a C library that no object owns", ""),
}  # fmt: skip
"""In the order in which they are explained."""


def in_object(kind: Type, before: int, offset: int, layout: Layout, length: int) -> str:
    """The cause of a changed word in a living object.

    Args:
        before: bytes between the begin of the block and the object: 0, 16 or 32.
        offset: of the word, from the object's address; negative in what lies before it.
        length: the word at VAR_SIZE: of code, its number of instructions.
    """
    if offset < 0:
        return GC_HEADER if before and offset >= -at.GC_HEAD else WRITTEN
    if offset < 8:
        return REFCOUNT
    if kind.base == "code":
        first = layout.code_units
        return INLINE if first <= offset < first + 2 * length + 8 else CACHE
    if kind.base == "type":
        return CACHE
    if kind.base == "dict" and offset == at.DICT_VERSION:
        return CACHE
    if kind.base == "str" and offset < at.STR_ASCII + 16:
        return CACHE
    if kind.base == "function" and offset > layout.func_module:
        return CACHE  # the version by which calls of it are specialised
    return WRITTEN


def in_keys(offset: int) -> str:
    """The cause of a changed word in a dict's keys: count, then log2s and version, then values."""
    if offset < 8:
        return REFCOUNT
    return CACHE if offset < 16 else WRITTEN


def may_have_counted(count: int) -> bool:
    """Whether a reference count is one that is written at all."""
    return sys.version_info < (3, 12) or count & 0xFFFFFFFF < at.IMMORTAL

"""What workers look up in classes, looked up before they do.

Facts (CPython 3.11 to 3.14, builds with a GIL):

- The interpreter keeps its last look-ups of attributes in classes in one table of 4,096 entries, 96
  KiB of its own state. An entry is the version of the class (4 bytes, and 4 of no use), the name,
  and what was found. It has one place: version XOR (address of the name >> 3), modulo 4,096.
- A look-up that does not find itself there writes its entry: the first ones of a worker, some six
  hundred, copy all 24 pages of the table.
- `_PyType_Lookup` makes such a look-up and nothing else; no descriptor is asked.

So a rehearsed worker (`zygote.forkserver.rehearse`) tells what is in its table at the end: versions
of classes, and names as text. The same look-ups are then made here. None is copied: what is in the
table is what this interpreter has found by itself. A version that no class has here, and a name
that is another object here, are left out.

Two look-ups of which each takes the other's place still copy a page, some ten in a worker's set-up.
So the table, too, goes back to how it was when the set-up is done (`zygote.sys.backed`), once.
Why that is safe, where names are immortal (3.12):

- An entry is believed where class and name are its own. A class that changes gives up its version,
  and no version is ever given to another one, or again. What was found is the class's as long as it
  has that version.
- The GIL is kept, and only one thread is there: nobody is in the middle of a look-up.
- The table counts its names. Immortal ones are not counted, which is looked at. What the set-up
  looked up under other names keeps them alive: a few, once.

Where the table lies is found out by look-ups of our own. Where it is not found, it is left alone.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import sys
import sysconfig
from collections.abc import Iterable
from typing import Any, NamedTuple

from zygote.bake import selftest
from zygote.sys import backed, pagemap
from zygote.sys.pagemap import PAGE

_COUNT = 4096
_ENTRY = 24
_SIZE = _COUNT * _ENTRY
_VERSION = 384
"""Of tp_version_tag, in a class."""
_STATE_MOST = 4 << 20
"""Bytes of the interpreter's state that are looked through."""
_TRIES = 7

_state = ctypes.PYFUNCTYPE(ctypes.c_void_p)(("PyInterpreterState_Get", ctypes.pythonapi))
_plan: list[tuple[type, str]] = []


class Seen(NamedTuple):
    """A look-up that somebody made: version of the class, address of the name, the name."""

    version: int
    at: int
    name: str


class Table:
    """The table of this interpreter.

    Attributes:
        address: of its first entry; 0 where it was not found. It is looked for once.
    """

    address = -1

    def __init__(self) -> None:
        if Table.address < 0:
            Table.address = _find()

    def read(self) -> list[Seen]:
        """What is in it."""
        if not self.address:
            return []
        # A name may be gone once its entry is another's: first of all, hold them.
        names = _names(self.address, _COUNT)
        versions = (ctypes.c_uint32 * (_SIZE // 4)).from_address(self.address)[:: _ENTRY // 4]
        return [
            Seen(version, id(name), name)
            for version, name in zip(versions, names, strict=True)
            if version and type(name) is str
        ]


def plan(seen: Iterable[Seen]) -> int:
    """Remember which look-ups to make; how many they are."""
    Table()
    classes = {_word(id(kind) + _VERSION): kind for kind in _classes()}
    wanted: dict[int, tuple[type, str]] = {}
    for each in seen:
        kind = classes.get(each.version)
        name = sys.intern(each.name)
        if kind is not None and id(name) == each.at:
            wanted.setdefault(_place(each.version, each.at), (kind, name))
    _plan[:] = wanted.values()
    return len(_plan)


def repeat() -> None:
    """Make the look-ups, and leave nothing on the heap."""
    for kind, name in _plan:
        _look_up(kind, name)


def keep() -> str:
    """Make the look-ups, and let workers go back to them; "", or why that cannot be."""
    counts = selftest.immortal_counts()
    if isinstance(counts, str):
        return counts
    address = Table().address
    begin = -(-address // PAGE) * PAGE
    size = (address + _SIZE) // PAGE * PAGE - begin
    if not address:
        return "the table is not where it should be"
    # Of an entry across an edge one half goes back and one does not: it is in use on no side.
    first, last = (
        address + (edge - 1 - address) // _ENTRY * _ENTRY for edge in (begin, begin + size)
    )
    if first < address:  # it begins with a page
        first = 0
    repeat()
    _immortalise(counts, _names(address, _COUNT))
    _set_version(last)
    try:
        kept = backed.keep(begin, size, backed.LOOKUPS, clears=first)
    except OSError as error:
        return f"no file in memory: {error}"
    if first:
        _set_version(first)
    if _word(kept + last - begin):
        backed.forget(backed.LOOKUPS)
        return "a look-up came in between"
    # Some entries are of look-ups in between, in code of ours, whose names live on with it.
    whole = first + _ENTRY - begin if first else 0
    _immortalise(counts, _names(kept + whole, (size - whole) // _ENTRY))
    return ""


def _set_version(entry: int) -> None:
    """To none."""
    ctypes.c_uint32.from_address(entry).value = 0


def _names(address: int, count: int) -> list[Any]:
    """The names in so many entries, None for those in no use. They are held in one go: nothing is
    looked up meanwhile."""
    return (ctypes.py_object * (count * _ENTRY // 8)).from_address(address)[1 :: _ENTRY // 8]


def _immortalise(counts: selftest.Counts, names: list[Any]) -> None:
    for name in names:
        at = id(name) >> 2
        if counts.words[at] < counts.immortal:
            counts.words[at] = counts.given
            if counts.flags:
                counts.flags[2 * at + 3] |= 1


def _look_up(kind: type, name: str) -> None:
    if _lookup is not None:
        _lookup(kind, name)


def _read_lookup() -> Any:
    try:
        made = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.py_object)
        return made(("_PyType_Lookup", ctypes.pythonapi))
    except AttributeError:
        return None


_lookup = _read_lookup()


def _classes() -> list[type]:
    """All classes that are alive: below `object`, which all are."""
    found: dict[type, None] = {object: None}
    todo = [object]
    while todo:
        for kind in type.__subclasses__(todo.pop()):
            if kind not in found:
                found[kind] = None
                todo.append(kind)
    return [*found]


def _find() -> int:
    """The address of the table, or 0: look-ups must be where they should be.

    Reading makes look-ups, too, one of which may take the place of the one that is looked for.
    """
    if _lookup is None or sysconfig.get_config_var("Py_GIL_DISABLED") or sys.maxsize < 2**32:
        return 0
    begin, found = int(_state() or 0), []
    state = _State(begin)
    for number in range(_TRIES):
        name = sys.intern(f"a name that nobody else looks up {number}")
        value = object()
        kind = type("Specimen", (), {name: value})
        _look_up(kind, "__doc__")  # from now on it has a version: 3.13.0 puts the first one astray
        _look_up(kind, name)
        at = state.find(struct.pack("<QQ", id(name), id(value)))
        if at >= 8 and _word(begin + at - 8) == _word(id(kind) + _VERSION) != 0:
            entry = _place(_word(id(kind) + _VERSION), id(name))
            found.append(begin + at - 8 - _ENTRY * entry)
    if len(found) <= _TRIES // 2 or len(set(found)) > 1:
        return 0
    inside = begin <= found[0] and found[0] + _SIZE <= begin + state.size
    return found[0] if inside else 0


def _place(version: int, name: int) -> int:
    """The number of the entry for a class of this version, and a name at this address."""
    return (version ^ (name >> 3)) % _COUNT


class _State:
    """The interpreter's state, and what lies behind it; through the kernel, which knows its end.

    Not on the heap, which would grow by it.
    """

    def __init__(self, begin: int) -> None:
        end = begin
        for mapping in pagemap.read_maps(os.getpid()):
            if mapping.begin <= end < mapping.end and mapping.writable:
                end = mapping.end
        self.begin, self.size = begin, min(end - begin, _STATE_MOST)
        self._copy = mmap.mmap(-1, max(self.size, 1), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

    def find(self, what: bytes) -> int:
        """Where this is now, from the begin; -1 if it is nowhere."""
        with open("/proc/self/mem", "rb", buffering=0) as memory:
            memory.seek(self.begin)
            count = memory.readinto(self._copy)
        return self._copy.find(what, 0, count or 0)


def _word(at: int) -> int:
    return ctypes.c_uint32.from_address(at).value

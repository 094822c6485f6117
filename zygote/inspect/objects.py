"""What object lies at an address of another process: its type, and the name it has of itself.

An object says what it is: its second word is the address of its type, which says the same of
itself, up to `type`, which is its own. So a block of memory is known to hold an object if the
chain ends there. Functions, code, classes and modules carry their names; a module's dict knows
`__name__`, a class's `__module__`. What has no name of its own is named by who holds it, which
only a witness can tell (`zygote.inspect.witness`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from zygote.inspect import layout as at
from zygote.inspect.layout import Layout
from zygote.inspect.memory import Memory

_LONG = 120
_MANY = 4000
_INLINE = 256
MODULE_DICT = "__dict__"
"""The name of a module's dict, within the module."""
HEAPTYPE, HAVE_GC = 1 << 9, 1 << 14


class Type(NamedTuple):
    """A type of the other process.

    Attributes:
        name: qualified, without the module.
        module: "" for one whose module could not be read.
        gc: its objects have the collector's header.
        base: the built-in type that its objects are laid out as, as far as it matters here:
            `type`, `module`, `dict`, `list`, `set`, `code`, `function`, `str`, or "".
        size, item: bytes of an object, and of each of its items.
    """

    name: str
    module: str
    gc: bool
    base: str
    size: int
    item: int


class Thing(NamedTuple):
    """What lies at an address.

    Attributes:
        type: of it: `dict`, `function`, `keys of dict`, …
        module, name: where it belongs to; "" where unknown.
    """

    type: str
    module: str = ""
    name: str = ""


class Decoder:
    """Objects of one process."""

    def __init__(self, memory: Memory, layout: Layout) -> None:
        self.memory = memory
        self.layout = layout
        self._types: dict[int, Type | None] = {}
        self._things: dict[int, Thing] = {}

    def type_of(self, address: int) -> Type | None:
        """The type of the object at an address; None if there is no object."""
        pointer = self.memory.word(address + 8)
        if pointer not in self._types:
            self._types[pointer] = self._read_type(pointer)
        return self._types[pointer]

    def type_at(self, address: int) -> Type | None:
        """The type object at an address; None if there is none."""
        if address not in self._types:
            self._types[address] = self._read_type(address)
        return self._types[address]

    def thing(self, address: int) -> Thing:
        """What the object at an address is; of one without a name, its type alone."""
        if address not in self._things:
            kind = self.type_of(address)
            self._things[address] = self._describe(address, kind) if kind else Thing("?")
        return self._things[address]

    def extent(self, address: int, most: int) -> int:
        """Bytes of the object at an address, at most so many: its block may be larger."""
        kind = self.type_of(address)
        if kind is None:
            return most
        count = 0
        if kind.item:  # an int keeps its sign there, too: what is too large is cut
            count = self.memory.word(address + at.VAR_SIZE) & 0xFFFFFFFF
        values = _INLINE if kind.gc and not kind.item and not kind.base else 0
        return min(kind.size + count * kind.item + values, most)

    def text(self, address: int) -> str:
        """The str at an address, cut; "" if there is none."""
        kind = self.type_of(address)
        if kind is None or kind.base != "str":
            return ""
        length = min(self.memory.word(address + at.STR_LENGTH), _LONG)
        state = self.memory.word(address + at.STR_STATE)
        # state: interned 2 or more bits, kind 3, compact 1, ascii 1; their place differs, but
        # only an ASCII text is read whose bytes are all there.
        raw = self.memory.read(address + at.STR_ASCII, length)
        if state and raw and raw.isascii() and 0 not in raw:
            return raw.decode()
        wide = self.memory.read(address + at.STR_WIDE, length)
        return wide.decode("latin-1").replace("\0", "") if state else ""

    def dict_items(self, address: int) -> Iterator[tuple[int, int]]:
        """Addresses of keys and values of the dict at an address (split ones: none)."""
        if self.memory.word(address + at.DICT_VALUES):
            return
        keys = self.memory.word(address + at.DICT_KEYS)
        yield from ((key, value) for key, value, _ in self.entries(keys))

    def entries(self, keys: int) -> Iterator[tuple[int, int, int]]:
        """Key, value and offset of each entry of a dict's keys."""
        head = self.memory.read(keys, at.KEYS_HEAD)
        index_bytes, kind = head[9], head[10]
        used = min(int.from_bytes(head[24:32], "little"), _MANY)
        if index_bytes > 32 or kind > 2:
            return
        size = 24 if kind == 0 else 16
        first = at.KEYS_HEAD + (1 << index_bytes)
        raw = self.memory.words(keys + first, used * size // 8)
        for number in range(used):
            place = number * size // 8
            key, value = raw[place + size // 8 - 2], raw[place + size // 8 - 1]
            if key:
                yield key, value, first + number * size

    def extent_of_keys(self, keys: int) -> int:
        """Bytes of a dict's keys up to the last entry in use."""
        last = at.KEYS_HEAD
        for _, _, offset in self.entries(keys):
            last = offset + 24
        return last

    def dict_names(self, address: int, *wanted: str) -> dict[str, str]:
        """Those values of a dict that are text, of these keys."""
        found = {}
        for key, value in self.dict_items(address):
            name = self.text(key)
            if name in wanted:
                found[name] = self.text(value)
        return found

    def _describe(self, address: int, kind: Type) -> Thing:
        memory, layout = self.memory, self.layout
        if kind.base == "type":
            named = self.type_at(address)
            return Thing("type", named.module, named.name) if named else Thing("type")
        if kind.base == "code":
            name = self.text(memory.word(address + layout.code_qualname))
            return Thing("code", self.text(memory.word(address + layout.code_filename)), name)
        if kind.base == "function":
            module = self.text(memory.word(address + layout.func_module))
            return Thing("function", module, self.text(memory.word(address + layout.func_qualname)))
        if kind.base == "module":
            names = self.dict_names(memory.word(address + at.MODULE_DICT), "__name__")
            return Thing("module", names.get("__name__", ""))
        if kind.base == "dict":
            names = self.dict_names(address, "__name__", "__module__", "__qualname__", "__spec__")
            if "__spec__" in names and "__name__" in names:
                return Thing("dict", names["__name__"], MODULE_DICT)
            if "__module__" in names:
                return Thing("dict", names["__module__"], names.get("__qualname__", ""))
        return Thing(kind.name, kind.module if kind.module != "builtins" else "")

    def _read_type(self, pointer: int) -> Type | None:
        memory = self.memory
        if pointer < 1 << 16 or pointer & 7 or pointer >> 48:
            return None
        chain = [pointer]
        for _ in range(4):
            meta = memory.word(chain[-1] + 8)
            if meta == chain[-1]:
                break
            if meta < 1 << 16 or meta & 7 or meta >> 48:
                return None
            chain.append(meta)
        else:
            return None
        if memory.text(memory.word(chain[-1] + at.TYPE_NAME)) != "type":
            return None
        full = memory.text(memory.word(pointer + at.TYPE_NAME))
        flags = memory.word(pointer + self.layout.type_flags)
        if not full:
            return None
        gc = bool(flags & HAVE_GC)
        size, item = memory.words(pointer + at.TYPE_SIZE, 2)
        base = _base(full, flags)
        if not flags & HEAPTYPE:
            module, _, name = full.rpartition(".")
            return Type(name, module or "builtins", gc, base, size, item)
        # Enough to read text while this very type is being read.
        self._types[pointer] = Type(full, "", gc, base, size, item)
        names = self.dict_names(memory.word(pointer + self.layout.type_dict), "__module__")
        module, _, name = full.rpartition(".")
        module = names.get("__module__", module)
        return Type(name or full, module, gc, base, size, item)


_FLAGS = ((31, "type"), (29, "dict"), (28, "str"), (25, "list"))
"""Bits of tp_flags that subclasses inherit."""


def _base(full: str, flags: int) -> str:
    for bit, name in _FLAGS:
        if flags >> bit & 1:
            return name
    if full in ("code", "function", "module", "set", "frozenset"):
        return "set" if full == "frozenset" else full
    return ""

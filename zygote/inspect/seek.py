"""Find out from outside whom a thing belongs to: who has its address.

For programs in which no witness can be forked. All writable memory of the parent is searched for
the addresses asked for; where one stands in the body of something that has a name, it belongs to
that. What has none is the next search's question. Compared with a witness: a word that only looks
like an address can name a wrong owner, an object of a class is named by its class and no further,
and what only C code holds stays without a name.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import NamedTuple

from zygote.inspect import layout
from zygote.inspect.heap import USED
from zygote.inspect.naming import part_of
from zygote.inspect.objects import MODULE_DICT, Thing
from zygote.inspect.sides import Ref, Side

_SEARCHES = 5
_SLAB = 1 << 20
_BUILTIN = ("", "builtins")


class _Held(NamedTuple):
    """Where an address stands.

    Attributes:
        offset: in the holder, from its address.
    """

    holder: Ref
    offset: int


class Seeker:
    """Answers as a witness does, by searching a process's memory."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._held: dict[int, _Held] = {}

    def __call__(self, addresses: list[int]) -> dict[str, list[str]]:
        """Type, module and name of what is at these addresses, of those whose owner is found."""
        self._search(set(addresses))
        found = {}
        for address in addresses:
            if thing := self._name(address, set()):
                found[str(address)] = list(thing)
        return found

    def _search(self, todo: set[int]) -> None:
        asked: set[int] = set()
        for _ in range(_SEARCHES):
            if not todo:
                return
            asked |= todo
            for place, word in self._places(todo):
                held = self._holder(place, word)
                if held and (word not in self._held or self._rank(held) > self._best(word)):
                    self._held[word] = held
            todo = {
                held.holder.address
                for word in todo
                if (held := self._held.get(word)) and not self._is_named(held.holder)
            } - asked

    def _places(self, wanted: set[int]) -> Iterator[tuple[int, int]]:
        """Where in writable memory these words stand."""
        for mapping in self._side.maps:
            if not mapping.writable or mapping.path.startswith("[v") or "s" in mapping.perms:
                continue
            for at in range(mapping.begin, mapping.end, _SLAB):
                raw = self._side.memory.slab(at, min(_SLAB, mapping.end - at))
                words = array("Q", raw[: len(raw) // 8 * 8])
                if not wanted.isdisjoint(words):
                    for number, word in enumerate(words):
                        if word in wanted:
                            yield at + number * 8, word

    def _holder(self, place: int, word: int) -> _Held | None:
        block = self._side.heap.block(place)
        if block is None or block.state != USED or block.of == "frames":
            return None
        ref = self._side.ref(block, inherited=True)
        offset = place - ref.address
        if ref.address == word:
            return None
        if ref.is_object:
            if -layout.GC_HEAD <= offset < 16:  # the collector's chain, the count, the type
                return None
            if offset >= self._side.decoder.extent(ref.address, ref.size):
                return None
        return _Held(ref, offset)

    def _is_named(self, ref: Ref) -> bool:
        if not ref.is_object:
            return False
        thing = self._side.decoder.thing(ref.address)
        # The dict of a class knows its module; which class it is, the class says.
        return bool(thing.name) or (thing.module not in _BUILTIN and thing.type != "dict")

    def _rank(self, held: _Held) -> int:
        """A holder with a name is better than one without, an object than a table."""
        return 2 * self._is_named(held.holder) + held.holder.is_object

    def _best(self, word: int) -> int:
        return self._rank(self._held[word])

    def _name(self, address: int, seen: set[int]) -> Thing | None:
        """The name of what is at an address, by its holder's."""
        held = self._held.get(address)
        if held is None or address in seen:
            return None
        seen.add(address)
        ref = held.holder
        if self._is_named(ref):
            owner = self._side.decoder.thing(ref.address)
            name = owner.name or owner.type
        else:
            above = self._name(ref.address, seen)
            if above is None:
                return None
            kind = self._side.decoder.thing(ref.address).type if ref.is_object else above.type
            owner, name = Thing(kind, above.module, above.name), above.name
            if kind.startswith("keys of") and (key := self._key(ref.address, held.offset)):
                name = key if name in ("", MODULE_DICT) else f"{name}.{key}"
        kind = "" if self._is_object(address) else part_of(owner.type, held.offset)
        return Thing(kind, owner.module, "" if name == MODULE_DICT else name)

    def _is_object(self, address: int) -> bool:
        block = self._side.heap.block(address)
        return block is not None and self._side.heap.object_in(block) == address

    def _key(self, keys: int, offset: int) -> str:
        decoder = self._side.decoder
        for key, _, begin in decoder.entries(keys):
            if begin <= offset < begin + 24:
                return decoder.text(key)
        return ""

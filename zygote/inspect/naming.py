"""Give what lies on private pages the names that people know it by.

Three sources, in this order: the object itself (functions, classes, code and modules carry their
names); the witness, for what is the floor's; and who points at it, for what the process made
itself: from each named thing the names go on to what stands in its body, and from there on. What
only a library's data points at is that library's memory.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from zygote.inspect import causes, layout
from zygote.inspect.compare import Comparison
from zygote.inspect.objects import MODULE_DICT, Thing
from zygote.inspect.regions import LIBRARY, is_python
from zygote.inspect.sides import Ref, Share, Side

Ask = Callable[[list[int]], dict[str, list[str]]]
"""Gives {address: [type, module, name]} of what a witness knows; may raise ZygoteError."""

_BODY_MOST = 1 << 20
_STEPS = 6
NAMELESS = "memory of C code"


class Names:
    """Names of what a comparison found.

    Args:
        ask: a witness; None where there is none to ask.
        spread: let names go on to what the child made.
    """

    def __init__(self, comparison: Comparison, ask: Ask | None, *, spread: bool = True) -> None:
        self._comparison = comparison
        self._things: dict[Ref, Thing] = {}
        refs = {
            share.what
            for page in comparison.pages
            for share in page.shares
            if isinstance(share.what, Ref)
        }
        for ref in refs:
            self._things[ref] = self._of_itself(ref)
        if ask:
            self._by_witness(ask)
        if spread:
            self._by_holders()

    def wanted(self) -> list[int]:
        """Addresses of what is the floor's and has no name of its own."""
        return sorted({ref.address for ref in self._unnamed()})

    def things(self, share: Share) -> list[tuple[str, Thing]]:
        """Causes and things of a share, now that all is known that can be known."""
        if not isinstance(share.what, Ref):
            return [(share.cause, share.what)]
        thing = self._things[share.what]
        if share.offsets and thing.type.startswith(("keys of", "instance keys")):
            found = list(dict.fromkeys(self._in_keys(share.what, thing, share.offsets)))
            return found or [(causes.WRITTEN, thing)]
        if share.cause == causes.WRITTEN and thing.type == NAMELESS:
            return [(causes.UNKNOWN, thing)]
        return [(share.cause, thing)]

    def _in_keys(
        self, ref: Ref, thing: Thing, offsets: tuple[int, ...]
    ) -> Iterator[tuple[str, Thing]]:
        """What the changed words in a dict's keys mean: one that is an entry's has its key."""
        decoder = self._comparison.child.decoder
        entries = [(begin, key) for key, _, begin in decoder.entries(ref.address)]
        for offset in offsets:
            cause = causes.in_keys(offset)
            if cause != causes.WRITTEN:
                yield cause, thing
                continue
            number = bisect_right(entries, (offset, 1 << 64)) - 1
            if number < 0:  # the index or the number of entries: an entry has come or gone
                continue
            name = "" if thing.name == MODULE_DICT else thing.name
            if key := decoder.text(entries[number][1]):
                name = f"{name}.{key}" if name else key
            yield cause, thing._replace(name=name)

    def _of_itself(self, ref: Ref) -> Thing:
        if not ref.is_object:
            return Thing("")
        side = self._side(ref)
        thing = side.decoder.thing(ref.address)
        if not side.memory.word(ref.address) & 0xFFFFFFFF:
            return Thing(f"dead {thing.type}, kept for reuse")
        return thing

    def _side(self, ref: Ref) -> Side:
        if ref.inherited and self._comparison.parent:
            return self._comparison.parent
        return self._comparison.child

    def _by_witness(self, ask: Ask) -> None:
        if not (wanted := self.wanted()):
            return
        found = ask(wanted)
        for ref in self._unnamed():
            if answer := found.get(str(ref.address)):
                kind, module, name = answer
                self._things[ref] = Thing(kind or self._things[ref].type, module, name)

    def _unnamed(self) -> list[Ref]:
        return [ref for ref, thing in self._things.items() if ref.inherited and not thing.name]

    # What the child made

    def _by_holders(self) -> None:
        """Let names go on from what has one to what stands in its body, in the child.

        They go through containers only. An object of a class of its own is known by that class,
        and so is what it holds.
        """
        places: dict[int, list[Ref]] = {}
        for ref in self._things:
            places.setdefault(ref.address, []).append(ref)
        named = {ref for ref, thing in self._things.items() if thing.name}
        self._spread(deque((ref, 0) for ref in named), named, places)
        classes = {
            ref
            for ref, thing in self._things.items()
            if ref not in named and thing.module and thing.type
        }
        known = named | classes
        self._spread(deque((ref, 0) for ref in classes), known, places)
        rest = {ref for ref in self._things if ref not in known and ref.is_object}
        known |= rest
        self._spread(deque((ref, 0) for ref in rest), known, places)
        self._by_libraries(places, known)
        for ref, thing in self._things.items():
            if not thing.type:
                self._things[ref] = Thing(NAMELESS, thing.module, thing.name)

    def _spread(
        self, todo: deque[tuple[Ref, int]], known: set[Ref], places: dict[int, list[Ref]]
    ) -> None:
        while todo:
            holder, steps = todo.popleft()
            thing = self._things[holder]
            name = thing.name or (thing.type if thing.module and holder.is_object else "")
            keys = self._keys_of_namespace(holder, thing)
            for offset, word in self._body(holder):
                for held in places.get(word, ()):
                    if held in known:
                        continue
                    kind = self._things[held].type
                    if not held.is_object:
                        kind = part_of(thing.type, offset)
                    elif self._things[held].module or steps >= _STEPS:
                        continue
                    known.add(held)
                    self._things[held] = Thing(kind, thing.module, keys.get(offset, name))
                    todo.append((held, steps + 1))

    def _keys_of_namespace(self, ref: Ref, thing: Thing) -> dict[int, str]:
        """Names by the offset of their values, if these are the keys of a module's dict."""
        if thing.name != MODULE_DICT or not thing.type.startswith("keys of"):
            return {}
        decoder = self._comparison.child.decoder
        return {
            begin + size: name
            for key, _, begin in decoder.entries(ref.address)
            for size in (8, 16)  # of an entry with and without a hash; the other is no value
            if (name := decoder.text(key))
        }

    def _body(self, ref: Ref) -> Iterable[tuple[int, int]]:
        """Offset and value of the words of a thing in the child that may be addresses."""
        if self._things[ref].type in ("str", "bytes", "int", "float"):
            return
        child = self._comparison.child
        size = min(ref.size, _BODY_MOST)
        if ref.is_object:
            size = child.decoder.extent(ref.address, size)
        elif self._things[ref].type.startswith("keys of"):
            size = min(child.decoder.extent_of_keys(ref.address), size)
        words = child.memory.words(ref.address, max(size // 8, 0))
        for number, word in enumerate(words):
            if word > 1 << 16 and not word & 7:
                yield number * 8, word
        if ref.before > layout.GC_HEAD:  # a managed dict, or its values, perhaps marked in bit 0
            for offset in range(-ref.before, -layout.GC_HEAD, 8):
                yield offset, child.memory.word(ref.address + offset) & ~7

    def _by_libraries(self, places: dict[int, list[Ref]], known: set[Ref]) -> None:
        """Blocks of C code: those that a library's data points at, or that point into one."""
        child = self._comparison.child
        regions = self._comparison.regions
        blocks = {at: ref for at, refs in places.items() for ref in refs if ref not in known}
        todo: deque[tuple[Ref, int]] = deque()
        for mapping in child.maps:
            region = regions.of(mapping.begin)
            if region.kind == LIBRARY and mapping.writable and not is_python(region.name):
                raw = child.memory.slab(mapping.begin, mapping.end - mapping.begin)
                for word in blocks.keys() & set(array("Q", raw[: len(raw) // 8 * 8])):
                    self._give(blocks[word], region.name, todo, known)
        sqlite = any("libsqlite3" in mapping.path for mapping in child.maps)
        for ref in blocks.values():
            if ref in known:
                continue
            if name := self._points_into(ref):
                self._give(ref, name, todo, known)
            elif sqlite and ref.size - 16 < self._side(ref).memory.word(ref.address) <= ref.size:
                # SQLite keeps the size that was asked for before each of its blocks.
                self._give(ref, "libsqlite3", todo, known)
        self._spread(todo, known, places)

    def _points_into(self, ref: Ref) -> str:
        for _, word in zip(range(16), (word for _, word in self._body(ref)), strict=False):
            mapping = self._comparison.child.heap.mapping(word)
            if mapping and mapping.is_file:
                name = self._comparison.regions.of(word).name
                if not is_python(name):  # everything points there: to None, to built-in types
                    return name
        return ""

    def _give(self, ref: Ref, library: str, todo: deque[tuple[Ref, int]], known: set[Ref]) -> None:
        self._things[ref] = Thing("memory of a library", library, "")
        known.add(ref)
        todo.append((ref, 0))


def part_of(kind: str, offset: int) -> str:
    """What a block is whose address stands at this offset of a thing of this type."""
    if kind.startswith(("memory of", "keys of", "items of", "table of", "values of", "part of")):
        return kind
    if kind in ("set", "frozenset"):
        return f"table of {kind}"
    if offset < 0:
        return f"values of {kind}"
    parts = {layout.DICT_KEYS: "keys", layout.DICT_VALUES: "values"}
    if kind == "list":
        return "items of list"
    if kind in ("dict", "OrderedDict", "defaultdict") and offset in parts:
        return f"{parts[offset]} of {kind}"
    return f"part of {kind}"

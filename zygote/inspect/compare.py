"""Account for each private page of a process: which objects are on it, and what copied it.

The main method reads both processes from outside: the heap's structure and the objects' types
stand in their memory, so it works on any fork of a Python, and asks nobody. A witness then adds
what memory alone does not say: whom a list, a str or a dict belongs to.

A page that the zygote has too was copied by a write: it is divided evenly among what changed on
it, since each change alone would have copied it. A page that the zygote has not is new: it is
divided by the room that each block takes.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from zygote.inspect import causes, layout, symbols
from zygote.inspect.heap import FREE, HEAD, USED, Block
from zygote.inspect.layout import POOL, Layout
from zygote.inspect.memory import explained
from zygote.inspect.objects import Thing
from zygote.inspect.regions import LIBRARY, STACKS, Region, Regions, is_python
from zygote.inspect.sides import Page, Ref, Share, Side
from zygote.sys import pagemap
from zygote.sys.pagemap import PAGE, Mapping

_ROOM = Thing("room in blocks not yet used")
_BOOKS = Thing("the allocator's own")
_SUSPECTS = 8
_COLLECTED = 64
"""Pages with changed headers from which on a collection must have visited everything."""


@dataclass(slots=True)
class Comparison:
    """A process beside the one that it was forked from.

    Args:
        parent: None if that is gone, or of another generation.
    """

    child: Side
    parent: Side | None
    layout: Layout
    pages: list[Page] = field(default_factory=list)
    swapped: int = 0
    regions: Regions = field(init=False)

    def run(self) -> None:
        """Look at every private page of the child."""
        regions = self.regions = Regions(self.child.pid, self.child.maps)
        with explained(self.child.pid):
            private = pagemap.read_private(self.child.pid, self.child.maps)
        for each in private:
            self.swapped += each.swapped
            for address in each.of_file:
                region = regions.of(address)
                shares = [Share(PAGE, causes.FILE, Thing("page of a file", "", region.name))]
                self.pages.append(Page(address, region, shares))
            inherited = self._inherited(each.mapping, each.anonymous)
            for address, was in zip(each.anonymous, inherited, strict=True):
                region = regions.of(address)
                shares = self._copied(address, region) if was else self._new(address, region)
                self.pages.append(Page(address, region, shares))
        self._put_down_to_collection()

    def _put_down_to_collection(self) -> None:
        """A collection visits every object, and leaves many headers with the bytes that they had.

        Where it visibly changed many, the pages without a trace that hold objects of its are its
        doing, too.
        """
        headers = sum(
            any(share.cause == causes.GC_HEADER for share in page.shares) for page in self.pages
        )
        if headers < max(_COLLECTED, len(self.pages) // 10):
            return
        for page in self.pages:
            visited = [
                share.what
                for share in page.shares
                if share.cause == causes.SAME
                and isinstance(share.what, Ref)
                and share.what.is_object
                and share.what.before
            ]
            if visited:
                part = PAGE / len(visited)
                page.shares = [Share(part, causes.GC_HEADER, what) for what in visited]

    def forget(self) -> None:
        """Drop the child's memory that was read; nothing more is to be named."""
        self.child.memory.forget()

    def _inherited(self, mapping: Mapping, addresses: array[int]) -> list[bool]:
        """Whether the parent has a page at each address, too."""
        if self.parent is None:
            return [False] * len(addresses)
        with explained(self.parent.pid):
            return pagemap.read_present(self.parent.pid, addresses)

    # A page that only the child has

    def _new(self, address: int, region: Region) -> list[Share]:
        if region.kind == STACKS:
            return [Share(PAGE, causes.STACK, Thing(region.name))]
        if region.kind == LIBRARY:
            return self._of_library(address, region, range(0, PAGE, 8))
        cause = causes.FRESH if self.parent else causes.ALONE
        shares, at = [], address
        while at < address + PAGE:
            block = self.child.heap.block(at)
            if block is None:
                unknown = Thing("memory", "", region.name)
                shares.append(Share(address + PAGE - at, causes.UNKNOWN, unknown))
                break
            size = min(block.end, address + PAGE) - at
            shares.append(Share(size, *self._fresh(block, cause)))
            at += size
        return shares

    def _fresh(self, block: Block, cause: str) -> tuple[str, Ref | Thing]:
        if block.of == "frames":
            return causes.STACK, Thing("frames of Python")
        if block.state == FREE:
            return cause, _ROOM
        if block.state == HEAD:
            return cause, _BOOKS
        return cause, self._ref(self.child, block)

    def _ref(self, side: Side, block: Block) -> Ref:
        return side.ref(block, inherited=side is self.parent)

    # A page that both have

    def _copied(self, address: int, region: Region) -> list[Share]:
        assert self.parent
        before, now = self.parent.memory.page(address), self.child.memory.page(address)
        if before == now and (region.kind in (STACKS, LIBRARY) or self._holds_anything(address)):
            return self._unchanged(address, region)
        one, two = array("Q", before), array("Q", now)
        changed = [n * 8 for n, (a, b) in enumerate(zip(one, two, strict=True)) if a != b]
        if region.kind == STACKS:
            return [Share(PAGE, causes.STACK, Thing(region.name))]
        if region.kind == LIBRARY:
            return self._of_library(address, region, changed)
        if not self._holds_anything(address):
            # Room that the parent had kept for itself: the child would have needed a page anyway.
            return self._new(address, region)
        found: dict[tuple[str, Ref | Thing], tuple[int, ...]] = {}
        at = 0
        while at < len(changed):
            block = self.parent.heap.block(address + changed[at])
            end = block.end if block else address + PAGE
            words = []
            while at < len(changed) and address + changed[at] < end:
                words.append(address + changed[at])
                at += 1
            for cause, what in self._changes(block, words, region):
                offsets: tuple[int, ...] = ()
                if cause == causes.WRITTEN and isinstance(what, Ref) and not what.is_object:
                    offsets = tuple(word - what.address for word in words)
                found.setdefault((cause, what), offsets)
        part = PAGE / len(found)
        return [Share(part, cause, what, offsets) for (cause, what), offsets in found.items()]

    def _holds_anything(self, address: int) -> bool:
        """Whether the parent has anything on that page that is in use."""
        assert self.parent
        at = address
        while at < address + PAGE:
            block = self.parent.heap.block(at)
            if block is None:
                pool = address & -POOL
                return not self._is_blank(pool) and self.parent.memory.page(address).count(0) < PAGE
            if block.state == USED:
                return True
            at = block.end
        return False

    def _is_blank(self, pool: int) -> bool:
        """The parent never used this stretch of pymalloc's: the child has a pool there."""
        assert self.parent
        return self.child.heap.pool(pool) is not None and self.parent.heap.pool(pool) is None

    def _changes(
        self, block: Block | None, words: list[int], region: Region
    ) -> list[tuple[str, Ref | Thing]]:
        """Causes of the changed words in a block of the parent's."""
        assert self.parent
        if block is None:
            return [(causes.UNKNOWN, Thing("memory", "", region.name))]
        if block.of == "frames":
            return [(causes.STACK, Thing("frames of Python"))]
        if block.state == HEAD:
            return [(causes.HOLE, _BOOKS)]
        if block.state == FREE:
            return [(causes.HOLE, what) for what in self._fillers(words)]
        ref = self._ref(self.parent, block)
        if self._was_dead(ref) or self._was_freed(ref, block):
            return [(causes.HOLE, what) for what in self._fillers(words)]
        if not ref.is_object:
            # What it is, only its owner knows: which word changed is looked at when that is known.
            return [(causes.WRITTEN, ref)]
        kind = self.parent.decoder.type_of(ref.address)
        assert kind
        length = self.parent.memory.word(ref.address + layout.VAR_SIZE)
        before = ref.address - block.begin
        found = dict.fromkeys(
            causes.in_object(kind, before, word - ref.address, self.layout, length)
            for word in words
        )
        return [(cause, ref) for cause in found]

    def _was_dead(self, ref: Ref) -> bool:
        """The parent kept it in a free list of its type, for reuse."""
        assert self.parent
        return ref.is_object and not self.parent.memory.word(ref.address) & 0xFFFFFFFF

    def _was_freed(self, ref: Ref, block: Block) -> bool:
        """The child has something else there now, or nothing."""
        child = self.child
        now = child.heap.block(block.begin)
        if now is None or now[:3] != block[:3]:
            return True
        if not ref.is_object:
            return child.heap.object_in(now) != 0
        assert self.parent
        return child.decoder.type_of(ref.address) != self.parent.decoder.type_of(ref.address)

    def _fillers(self, words: list[int]) -> list[Ref | Thing]:
        """What the child has where its parent had nothing."""
        found: dict[Ref | Thing, None] = {}
        end = 0
        for word in words:
            if word < end:
                continue
            block = self.child.heap.block(word)
            end = block.end if block else word + 16
            used = block is not None and block.state == USED
            found[self._ref(self.child, block) if used and block else _ROOM] = None
        return list(found)

    def _unchanged(self, address: int, region: Region) -> list[Share]:
        """Written, and written back: the objects on the page whose counts move are the suspects."""
        assert self.parent
        if region.kind in (STACKS, LIBRARY):
            what = Thing(region.name)
            return [Share(PAGE, causes.STACK if region.kind == STACKS else causes.SAME, what)]
        suspects: list[Ref | Thing] = []
        others: list[Ref | Thing] = []
        at = address
        while at < address + PAGE:
            block = self.parent.heap.block(at)
            if block is None:
                break
            if block.state == USED:
                ref = self._ref(self.parent, block)
                counted = causes.may_have_counted(self.parent.memory.word(ref.address))
                first_here = address <= ref.address < address + PAGE
                (suspects if counted and first_here and ref.is_object else others).append(ref)
            at = block.end
        chosen = (suspects or others or [Thing("memory", "", region.name)])[:_SUSPECTS]
        return [Share(PAGE / len(chosen), causes.SAME, what) for what in chosen]

    # Data of libraries

    def _of_library(self, address: int, region: Region, words: list[int] | range) -> list[Share]:
        """By the symbols that the words lie in; a type of CPython's has its own causes."""
        found: dict[tuple[str, Thing], None] = {}
        end = 0
        for word in words:
            offset = address + word - region.base
            if offset < end:
                continue
            symbol = symbols.find(region.path, offset)
            end = symbol.offset + symbol.size if symbol else offset + 64
            name = symbol.name if symbol else ""
            state = is_python(region.name) and not name.startswith(".")
            cause = causes.STATE if state else causes.FILE
            if symbol and name.endswith("_Type"):
                cause = causes.REFCOUNT if offset == symbol.offset else causes.CACHE
            found[cause, Thing("data of", region.name, name)] = None
        part = PAGE / len(found)
        return [Share(part, cause, what) for cause, what in found]

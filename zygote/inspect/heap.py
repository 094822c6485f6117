"""Which block of the heap an address lies in: pymalloc's pools and malloc's chunks, as they stand
in another process's memory.

Facts about glibc's malloc (2.26 and later), beside those on pymalloc in `zygote.inspect.layout`:

- A chunk begins with the size of the one before it, if that is free, and its own size, whose low
  bits say: 1 the one before is in use, 2 it was mapped by itself, 4 it belongs to a thread's arena.
  What malloc returned is 16 bytes further; the block runs 8 bytes into the next chunk's head.
- The main heap is one row of chunks from the start of `[heap]`. A thread's arena lies at a multiple
  of 64 MiB: its own head, then a row of chunks, the first of which (its cache) has 0x290 bytes.
- A chunk in a thread's cache looks used; its second word is a random number, the same in all of
  them (2.34), by which malloc itself knows them. Those in a fast bin cannot be told apart.

Python's frames live in blocks of their own from the arena allocator: previous, size, top.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

from zygote.inspect.layout import CLASSES, GC_HEAD, POOL, POOL_HEAD, VAR_SIZE
from zygote.inspect.memory import Memory
from zygote.inspect.objects import Decoder
from zygote.sys import backed
from zygote.sys.pagemap import PAGE, Mapping

ARENA = 64 << 20
_SLAB = 1 << 20
_CHUNK_FIRST = range(0x8A0, 0x900, 16)
_CACHE = 0x290
_MAPPED_LEAST = 1 << 16
_FRAMES = (1 << 14, 1 << 15, 1 << 16)
"""Sizes of a block of frames."""

USED, FREE, HEAD = "used", "free", "head"


class Block(NamedTuple):
    """A piece of the heap.

    Attributes:
        state: USED, FREE, or HEAD: the allocator's own.
        of: `pymalloc`, `malloc`, `frames` or `code`.
    """

    begin: int
    end: int
    state: str
    of: str

    @property
    def size(self) -> int:
        return self.end - self.begin


class Pool(NamedTuple):
    """A pool of pymalloc."""

    begin: int
    size: int
    free: frozenset[int]
    virgin: int
    """The first block never used; all behind it are free."""

    def block(self, address: int) -> Block:
        """The block at an address in the pool."""
        begin = self.begin + POOL_HEAD
        if address < begin:
            return Block(self.begin, begin, HEAD, "pymalloc")
        at = begin + (address - begin) // self.size * self.size
        if at + self.size > self.begin + POOL:  # the rest that is too small for a block
            return Block(at, self.begin + POOL, FREE, "pymalloc")
        state = FREE if at in self.free or at >= self.virgin else USED
        return Block(at, at + self.size, state, "pymalloc")


class Heap:
    """The heap of one process.

    Args:
        maps: of that process.
    """

    def __init__(self, memory: Memory, decoder: Decoder, maps: Sequence[Mapping]) -> None:
        self._memory = memory
        self._decoder = decoder
        self._maps = _joined(maps)
        self._begins = [mapping.begin for mapping in self._maps]
        self._pools: dict[int, Pool | None] = {}
        self._rows: dict[int, tuple[list[int], list[bool]]] = {}

    def block(self, address: int) -> Block | None:
        """The block that an address lies in; None if it is on neither heap."""
        mapping = self.mapping(address)
        if mapping is not None and mapping.path == backed.PATH:
            return self._code(mapping, address)
        if mapping is None or not mapping.writable or (mapping.path and mapping.path[0] == "/"):
            return None
        if mapping.path == "[heap]" or not (mapping.begin % ARENA or mapping.path):
            chunk = self._chunk(mapping, address)
            if chunk or mapping.path:
                return chunk  # else what begins there is no thread's arena
        if mapping.path.startswith("[") and not mapping.path.startswith("[anon"):
            return None
        if pool := self.pool(address & -POOL):
            return pool.block(address)
        return self._frames(mapping, address) or self._mapped(mapping, address)

    def mapping(self, address: int) -> Mapping | None:
        """The mapping that an address lies in."""
        number = bisect_right(self._begins, address) - 1
        if number < 0 or address >= self._maps[number].end:
            return None
        return self._maps[number]

    def object_in(self, block: Block) -> int:
        """The address of the object that a block holds; 0 if it holds none.

        Its reference count is 0 if it is dead and kept for reuse (a free list of its type).
        """
        word, type_at = self._memory.word, self._decoder.type_at
        for before, gc in ((GC_HEAD, True), (2 * GC_HEAD, True), (0, False)):
            address = block.begin + before
            if before + 16 > block.size:
                continue
            kind = type_at(word(address + 8))
            if kind and kind.gc == gc:
                return address
        return 0

    def pool(self, begin: int) -> Pool | None:
        """The pool that begins at an address; None if there is none."""
        if begin not in self._pools:
            self._pools[begin] = self._read_pool(begin)
        return self._pools[begin]

    def _read_pool(self, begin: int) -> Pool | None:
        first = self.mapping(begin)
        if first is None or first.end < begin + POOL:
            return None
        raw = self._memory.read(begin, POOL_HEAD)
        count, arena, kind, after, last = (
            int.from_bytes(raw[at : at + 4], "little") for at in (0, 32, 36, 40, 44)
        )
        size = (kind + 1) * 16
        if kind >= CLASSES or last != POOL - size or after < POOL_HEAD or after > POOL:
            return None
        most = (POOL - POOL_HEAD) // size
        if count > most or arena > 1 << 20 or (after - POOL_HEAD) % size:
            return None
        free: set[int] = set()
        at = int.from_bytes(raw[8:16], "little")
        while at and begin <= at < begin + POOL and at not in free and len(free) <= most:
            free.add(at)
            at = self._memory.word(at)
        return Pool(begin, size, frozenset(free), begin + (after if count else POOL_HEAD))

    def _chunk(self, mapping: Mapping, address: int) -> Block | None:
        if mapping.begin not in self._rows:
            self._rows[mapping.begin] = self._read_row(mapping)
        starts, used = self._rows[mapping.begin]
        number = bisect_right(starts, address) - 1
        if number < 0:
            return Block(mapping.begin, starts[0], HEAD, "malloc") if starts else None
        begin = starts[number]
        end = starts[number + 1] if number + 1 < len(starts) else mapping.end
        if address < begin + 16:
            return Block(begin, begin + 16, HEAD, "malloc")
        return Block(begin + 16, end, USED if used[number] else FREE, "malloc")

    def _read_row(self, mapping: Mapping) -> tuple[list[int], list[bool]]:
        """Where the chunks of a heap begin, and which of them are in use."""
        starts: list[int] = []
        bits: list[int] = []
        seconds: list[int] = []
        at = self._first_chunk(mapping)
        slab, base = b"", 0
        while at and at + 16 <= mapping.end:
            if not base <= at <= base + len(slab) - 32:
                slab, base = self._memory.slab(at, min(_SLAB, mapping.end - at)), at
                if len(slab) < 16:
                    break
            size = int.from_bytes(slab[at - base + 8 : at - base + 16], "little")
            length = size & ~7
            if length < 32 or length % 16 or at + length > mapping.end:
                break
            starts.append(at)
            bits.append(size & 1)
            seconds.append(int.from_bytes(slab[at - base + 24 : at - base + 32], "little"))
            at += length
        # Each says of the one before it whether that is in use; the last is the top, which is not.
        keys = Counter(word for word in seconds if word >> 48)
        key = max(keys, key=keys.__getitem__, default=0)
        used = [bit and second != key for bit, second in zip(bits[1:], seconds, strict=False)]
        return starts, [*map(bool, used), *([False] if starts else [])]

    def _first_chunk(self, mapping: Mapping) -> int:
        if mapping.path == "[heap]":
            return mapping.begin
        for offset in _CHUNK_FIRST:
            if self._memory.word(mapping.begin + offset + 8) & ~7 == _CACHE:
                return mapping.begin + offset
        return 0

    def _frames(self, mapping: Mapping, address: int) -> Block | None:
        """A block of Python frames around an address."""
        for back in range(4):
            begin = (address & -PAGE) - back * PAGE
            if begin < mapping.begin:
                break
            before, size, top = self._memory.words(begin, 3)
            is_head = size in _FRAMES and not before % PAGE and top * 8 <= size
            if is_head and address < begin + size:
                return Block(begin, begin + size, USED, "frames")
        return None

    def _code(self, mapping: Mapping, address: int) -> Block | None:
        """Code that the bake has put together: one object after the other."""
        if mapping.begin not in self._rows:
            starts, at = [mapping.begin], mapping.begin
            while at < mapping.end:
                kind = self._decoder.type_of(at)
                if kind is None or kind.base != "code":
                    break
                size = kind.size + self._memory.word(at + VAR_SIZE) * kind.item
                at += -(-size // 16) * 16
                starts.append(at)
            self._rows[mapping.begin] = (starts, [])
        starts, _ = self._rows[mapping.begin]
        number = bisect_right(starts, address)
        if number == len(starts):
            return Block(starts[-1], mapping.end, FREE, "code")
        return Block(starts[number - 1], starts[number], USED, "code")

    def _mapped(self, mapping: Mapping, address: int) -> Block | None:
        """A block that malloc mapped by itself."""
        if mapping.begin not in self._rows:
            starts, used, at = [], [], mapping.begin
            while at < mapping.end:
                before, size = self._memory.words(at, 2)
                length = -(-(size & ~7) // PAGE) * PAGE
                # Of whole pages; glibc 2.43 writes down 16 less.
                is_head = size & 7 == 2 and not before and length - (size & ~7) in (0, 16)
                if is_head and _MAPPED_LEAST <= length <= mapping.end - at:
                    starts += [at, at + length]
                    used += [True, False]
                    at += length
                else:
                    at += PAGE
            self._rows[mapping.begin] = (starts, used)
        starts, used = self._rows[mapping.begin]
        for (begin, end), here in zip(pairwise(starts), used, strict=False):
            if here and begin <= address < end:
                return Block(begin + 16, end, USED, "malloc")
        return None


def _joined(maps: Sequence[Mapping]) -> list[Mapping]:
    """Neighbours of the main heap as one: the kernel splits it where huge pages were asked for."""
    found: list[Mapping] = []
    for mapping in maps:
        before = found[-1] if found else None
        if before and before.path == mapping.path == "[heap]" and before.end == mapping.begin:
            found[-1] = replace(before, end=mapping.end)
        else:
            found.append(mapping)
    return found

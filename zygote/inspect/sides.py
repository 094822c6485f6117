"""The two processes that are compared, and the words in which what was found is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from zygote.inspect.heap import Block, Heap
from zygote.inspect.layout import Layout
from zygote.inspect.memory import Memory, explained
from zygote.inspect.objects import Decoder, Thing
from zygote.inspect.regions import Region
from zygote.sys import pagemap


class Ref(NamedTuple):
    """An object or block that is to be named: where it is, and in which of the two processes."""

    address: int
    inherited: bool
    is_object: bool
    size: int
    before: int
    """Bytes of the block before the object."""


class Share(NamedTuple):
    """A part of a page's bytes.

    Attributes:
        what: a Ref, or what needs no more naming.
        offsets: of a block that is no object, where it changed.
    """

    size: float
    cause: str
    what: Ref | Thing
    offsets: tuple[int, ...] = ()


@dataclass(slots=True)
class Page:
    """A private page and what it is put down to."""

    address: int
    region: Region
    shares: list[Share]


class Side:
    """One of the two processes."""

    def __init__(self, pid: int, layout: Layout) -> None:
        self.pid = pid
        with explained(pid):
            self.maps = pagemap.read_maps(pid)
        self.memory = Memory(pid)
        self.decoder = Decoder(self.memory, layout)
        self.heap = Heap(self.memory, self.decoder, self.maps)

    def ref(self, block: Block, *, inherited: bool) -> Ref:
        """What a block of the heap holds."""
        thing = self.heap.object_in(block)
        at = thing or block.begin
        return Ref(at, inherited, bool(thing), block.end - at, at - block.begin)

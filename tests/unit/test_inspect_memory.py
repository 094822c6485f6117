"""The parts of `cow` that read memory, tried on the memory of this very process."""

from __future__ import annotations

import collections
import contextlib
import ctypes
import dataclasses
import json
import mmap
import os
import sys
import time
from array import array
from collections.abc import Iterator

import pytest

from zygote.errors import ZygoteError
from zygote.inspect import layout, memory, symbols
from zygote.inspect.heap import ARENA, FREE, USED, Heap
from zygote.inspect.memory import Memory
from zygote.inspect.objects import Decoder, Thing
from zygote.inspect.regions import ARENAS, HEAP, LIBRARY, STACKS, Regions
from zygote.sys import pagemap, procfs

HERE = os.getpid()
LAYOUT = layout.calibrate()


class Sample:
    """A class to be found in memory."""

    limit = 3


@pytest.fixture
def decoder() -> Decoder:
    return Decoder(Memory(HERE), LAYOUT)


def test_memory_reads_across_pages_and_what_is_not_there_as_zeros() -> None:
    size = 3 * pagemap.PAGE
    data = os.urandom(size)
    buffer = mmap.mmap(-1, size)
    buffer[:] = data
    at = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    memory = Memory(HERE)
    assert memory.read(at + 4000, 5000) == data[4000:9000]
    assert memory.word(at + 4092) == int.from_bytes(data[4092:4100], "little")
    assert memory.words(at + 8, 3) == tuple(memory.word(at + 8 + n * 8) for n in range(3))
    assert memory.read(4096, 16) == bytes(16)
    assert memory.slab(4096, 16) == b""
    memory.close()
    memory.close()


def test_memory_of_nobody_is_explained() -> None:
    with pytest.raises(ZygoteError, match="no process") as caught:
        Memory(2**22 + 1)
    assert caught.value.code == "gone"


def test_layout_finds_every_offset() -> None:
    assert all(offset > 0 for offset in dataclasses.astuple(LAYOUT)), LAYOUT
    assert layout.version_of(HERE) in (sys.version_info[:2], None)


def test_decoder_names_what_has_a_name(decoder: Decoder) -> None:
    assert decoder.thing(id(json)) == Thing("module", "json", "")
    assert decoder.thing(id(json.dumps)) == Thing("function", "json", "dumps")
    assert decoder.thing(id(json.dumps.__code__)).name == "dumps"
    assert decoder.thing(id(Sample)) == Thing("type", __name__, "Sample")
    assert decoder.thing(id(Sample())) == Thing("Sample", __name__, "")
    assert decoder.thing(id(vars(json))) == Thing("dict", "json", "__dict__")
    assert decoder.thing(id([1])).type == "list"
    assert decoder.thing(id(collections.deque())) == Thing("deque", "collections", "")


@pytest.mark.parametrize("text", ["plain", "", "æøå", "x" * 100])
def test_decoder_reads_text(decoder: Decoder, text: str) -> None:
    assert decoder.text(id(text)) == text


def test_decoder_reads_no_text_where_there_is_none(decoder: Decoder) -> None:
    assert decoder.text(id(b"bytes")) == ""
    assert decoder.text(0) == ""


@pytest.mark.parametrize("keys", [("a", "b"), (1, "b"), tuple("abcdefghijklmnopq")])
def test_decoder_reads_dicts(decoder: Decoder, keys: tuple[object, ...]) -> None:
    values = [object() for _ in keys]
    made = dict(zip(keys, values, strict=True))
    assert list(decoder.dict_items(id(made))) == [(id(k), id(v)) for k, v in made.items()]


def test_decoder_takes_no_garbage_for_an_object(decoder: Decoder) -> None:
    noise = ctypes.create_string_buffer(bytes(range(256)) * 4)
    assert all(decoder.type_of(ctypes.addressof(noise) + n * 8) is None for n in range(100))


@contextlib.contextmanager
def heap_of_a_copy() -> Iterator[Heap]:
    """The heap of a fork of this process that sleeps: ours would change while it is read."""
    read, write = os.pipe()
    begun, begin = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(write)
        os.write(begin, b"x")
        os.read(read, 1)
        os._exit(0)
    try:
        os.read(begun, 1)  # from here on it sleeps nowhere but where it is to
        deadline = time.monotonic() + 60
        while (stat := procfs.read_stat(pid)) and stat.state != "S":
            assert time.monotonic() < deadline, stat
        memory = Memory(pid)
        yield Heap(memory, Decoder(memory, LAYOUT), pagemap.read_maps(pid))
    finally:
        for descriptor in (write, read, begun, begin):
            os.close(descriptor)
        os.waitpid(pid, 0)


def test_heap_knows_the_block_of_each_object() -> None:
    made = [
        object(),
        1.5,
        [1],
        {"a": 1},
        "a new text".upper(),
        b"x" * 300,
        b"y" * 3000,
        Sample(),
        lambda: 0,
    ]
    with heap_of_a_copy() as heap:
        for thing in made:
            block = heap.block(id(thing))
            assert block and block.state == USED, thing
            assert block.begin <= id(thing)
            assert id(thing) + 16 <= block.end, thing
            assert heap.object_in(block) == id(thing), thing


def test_heap_knows_what_is_free() -> None:
    made = [bytes(200) for _ in range(400)]
    addresses = [id(thing) for thing in made]
    del made[::2]
    kept = {id(thing) for thing in made}
    with heap_of_a_copy() as heap:
        blocks = [heap.block(address) for address in addresses]
    free = [block for block in blocks if block and block.state == FREE]
    assert len(free) > 150
    assert all(
        block and block.state == USED
        for block, address in zip(blocks, addresses, strict=True)
        if address in kept
    )


def test_heap_that_begins_where_a_threads_arena_might() -> None:
    """A pool of ours at a multiple of 64 MiB, as chance, or a thread's arena above it, puts it."""
    thing = Sample()
    pool = id(thing) & -layout.POOL
    area = mmap.mmap(-1, 2 * ARENA)
    at = ctypes.addressof(ctypes.c_char.from_buffer(area))
    begin = (at + ARENA - 1) & -ARENA
    ctypes.memmove(begin, pool, layout.POOL)
    like = next(each for each in pagemap.read_maps(HERE) if each.begin <= at < each.end)
    mapping = dataclasses.replace(like, begin=begin, end=begin + layout.POOL, path="")
    memory = Memory(HERE)
    heap = Heap(memory, Decoder(memory, LAYOUT), [mapping])
    block = heap.block(begin + id(thing) - pool)
    assert block and (block.state, block.of) == (USED, "pymalloc")


def test_regions_tell_what_memory_is_for() -> None:
    maps = pagemap.read_maps(HERE)
    regions = Regions(HERE, maps)
    local = ctypes.c_int()
    stack = next(mapping for mapping in maps if mapping.path == "[stack]")
    assert regions.of(stack.begin).kind == STACKS
    assert regions.of(id(object())).kind == HEAP
    assert regions.of(ctypes.addressof(local)).kind == HEAP
    types = regions.of(id(type))  # static: in the interpreter's data
    assert types.kind == LIBRARY
    assert "python" in types.name


def test_regions_tell_a_threads_arena_from_a_heap_that_begins_like_one() -> None:
    at = 5 * ARENA

    def mapping(begin: int, end: int, perms: str = "rw-p") -> pagemap.Mapping:
        return pagemap.Mapping(at + begin, at + end, perms, 0, "")

    rest = mapping(1 << 20, ARENA, "---p")
    for maps, kind in (
        ([mapping(0, 1 << 20), rest], ARENAS),
        ([mapping(0, ARENA)], ARENAS),
        ([mapping(0, 1 << 20)], HEAP),
        ([mapping(0, 1 << 20), mapping(1 << 20, 1 << 21, "---p")], HEAP),
    ):
        assert Regions(HERE, maps).of(at + 8).kind == kind, maps


def test_symbols_name_the_data_of_a_library() -> None:
    region = Regions(HERE, pagemap.read_maps(HERE)).of(id(type))
    symbol = symbols.find(region.path, id(type) - region.base)
    assert symbol and symbol.name in ("PyType_Type", ".data")
    assert symbols.find(region.path, 1 << 40) is None
    assert symbols.find("/no/such/file", 8) is None
    assert symbols.read(__file__).symbols == []


def test_pagemap_tells_private_from_untouched() -> None:
    size = 8 * pagemap.PAGE
    buffer = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    at = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    for page in (1, 4):
        buffer[page * pagemap.PAGE] = 1
    addresses = array("Q", range(at, at + size, pagemap.PAGE))
    touched = [number in (1, 4) for number in range(8)]
    assert pagemap.read_present(HERE, addresses) == touched
    private = {page for each in pagemap.read_private(HERE) for page in each.anonymous}
    assert [address in private for address in addresses] == touched
    resident = set(pagemap.read_resident(HERE, pagemap.read_maps(HERE)))
    assert [address in resident for address in addresses] == touched


@pytest.mark.parametrize(
    ("scope", "said"),
    [(3, "nobody may"), (1, "ptrace_scope is 1: use sudo"), (0, "cannot be dumped")],
)
def test_memory_that_the_kernel_hides_is_explained(
    monkeypatch: pytest.MonkeyPatch, scope: int, said: str
) -> None:
    monkeypatch.setattr(memory, "_yama", lambda: scope)
    with pytest.raises(ZygoteError, match="may not be read") as caught, memory.explained(HERE):
        raise PermissionError(1, "Operation not permitted")
    assert caught.value.exit_code == 5
    assert said in caught.value.hint

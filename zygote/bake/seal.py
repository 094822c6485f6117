"""Fill the holes of the heap, so that workers allocate beside the floor and not inside it.

The floor's pages are full of small free blocks, left by what its imports made and dropped. An
allocator hands these out first, so a worker's first thousand objects would each land in another
shared page and copy it. Here every free block of a half-used page is taken, once and for good:
what workers allocate then comes from fresh pages, side by side. The zygote pays for the filling
once; it is shared by all.

Two allocators are filled: Python's own for blocks up to 512 bytes, whose statistics say how many
are free in each size, and malloc's main heap, where we ask until the answer lies at the end.
"""

from __future__ import annotations

import gc
import os
import re
import sys
import warnings

from zygote.bake import lookups, warm
from zygote.bake.stage import Bake, Skipped
from zygote.errors import ZygoteError
from zygote.sys import malloc

_ROW = re.compile(rb"^\s*\d+\s+(\d+)\s+\d+\s+\d+\s+(\d+)\s*$", re.MULTILINE)
"""A size class in the statistics: class, size, pools, blocks in use, blocks free."""
_BYTES_HEAD = sys.getsizeof(b"")
_ROUNDS = 2
"""The filling itself makes a few objects of other sizes."""

_AGAIN = 3
"""Rounds of what every worker does, that fill the cleared cache again."""

_ITERATORS = 256
"""One more than asyncio keeps."""

_filling: list[object] = []


def run(bake: Bake) -> str:
    """Both allocators.

    Raises:
        Skipped: neither can be filled: Python runs without its allocator (PYTHONMALLOC), and libc
            is not glibc.
    """
    _clear_type_cache()
    warm.own(bake, rounds=_AGAIN)
    planned = _plan(bake)
    gc.collect()  # empties the interpreter's lists of dead objects, whose places are holes, too
    _take_iterators()
    blocks, taken = fill()
    gc.freeze()  # the filling, too, is out of the collector's sight
    why_not = lookups.keep()
    planned += f" (not kept: {why_not})" if why_not else ""
    if not blocks and not taken:
        raise Skipped("neither pymalloc nor glibc's malloc is in use")
    return f"{blocks:,} small blocks, {taken / 1e6:.1f} MB of malloc's, {planned}"


def again() -> None:
    """Fill what was opened since: what came of the bake was told, which makes and drops thousands.

    From here on the zygote only serves.
    """
    gc.collect()
    fill()
    gc.freeze()
    lookups.repeat()


def _plan(bake: Bake) -> str:
    """Find out what workers look up. They run without it, too."""
    try:
        return f"{lookups.plan(bake.look_up()):,} look-ups"
    except (ZygoteError, OSError, ValueError) as error:
        return f"no look-ups: {error}"


def fill() -> tuple[int, int]:
    """Blocks of pymalloc and bytes of malloc that were taken."""
    return sum(_fill_small() for _ in range(_ROUNDS)), malloc.fill()


def _clear_type_cache() -> None:
    """Drop what attribute look-ups left behind.

    Its entries hold names that nobody else has any more, and replacing one would free a block in a
    page of the floor. What every worker looks up is looked up again (`lookups`), so that it finds
    that and writes to hardly any of the cache's 24 pages.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from 3.13; it acts all the same
        sys._clear_type_cache()


def _fill_small() -> int:
    """Take the free blocks of all half-used pools; how many there were."""
    found = _ROW.findall(_statistics())
    rows = [(int(size), int(free)) for size, free in found]
    # They lie in holes, too: dropped, their places would be the first to be used again.
    _filling.append((found, rows))
    for size, free in rows:
        _filling.append([_make(size) for _ in range(free)])
    return sum(free for _, free in rows)


def _take_iterators() -> None:
    """Take the iterators over futures that asyncio keeps for reuse, which no collection empties."""
    if asyncio := sys.modules.get("_asyncio"):
        future = asyncio.Future(loop=_NoLoop())
        _filling.append([iter(future) for _ in range(_ITERATORS)])


class _NoLoop:
    """All that a future asks of its loop at first."""

    def get_debug(self) -> bool:
        return False


def _make(size: int) -> object:
    """An object that takes a block of exactly this size class and that nobody else has."""
    if size > _BYTES_HEAD + 1:
        return bytes(size - _BYTES_HEAD)
    return float(len(_filling)) if size > 16 else object()


def _statistics() -> bytes:
    """What sys._debugmallocstats writes to the C library's stderr."""
    memfd, stderr = os.memfd_create("pymalloc"), os.dup(2)
    try:
        os.dup2(memfd, 2)
        try:
            sys._debugmallocstats()
        finally:
            os.dup2(stderr, 2)
        return os.pread(memfd, os.fstat(memfd).st_size, 0)
    finally:
        os.close(memfd)
        os.close(stderr)

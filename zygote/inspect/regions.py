"""What a stretch of a process's address space is for.

Facts this rests on: a thread's stack is a mapping that a page without any rights precedes, and
/proc/PID/task/TID/syscall has its stack pointer while the thread waits; a thread's malloc arena
lies at a multiple of 64 MiB and reaches to the next; the part of a library's data that begins as
zeros follows its last mapping without a gap.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from zygote.inspect import symbols
from zygote.inspect.heap import ARENA
from zygote.sys import backed
from zygote.sys.pagemap import PAGE, Mapping

HEAP, ARENAS, LIBRARY, STACKS, OTHER = "heap", "thread's heap", "library", "stack", "other"


_PYTHON = re.compile(r"(lib)?python3")


class Region(NamedTuple):
    """What a mapping is for.

    Attributes:
        name: as a person reads it: `heap`, `stack`, `libc.so.6`.
        path, base: of a library: its file, and where its first mapping begins.
    """

    kind: str
    name: str
    path: str = ""
    base: int = 0


class Regions:
    """The regions of one process."""

    def __init__(self, pid: int, maps: Sequence[Mapping]) -> None:
        pointers = sorted(_stack_pointers(pid))
        bases: dict[str, int] = {}
        self._begins: list[int] = []
        self._regions: list[Region] = []
        before: Mapping | None = None
        for mapping, after in zip_longest(maps, maps[1:]):
            if mapping.is_file:
                bases.setdefault(mapping.path, mapping.begin - mapping.offset)
            at = bisect_right(pointers, mapping.begin)
            stack = at < len(pointers) and pointers[at] < mapping.end
            last = self._regions[-1] if self._regions else None
            begin = mapping.begin
            if mapping.path == backed.LOOKUPS_PATH and last:
                self._add(begin, last)  # a part of what lies around it
                begin = mapping.end
            elif end := _zeros(mapping, before, last):
                self._add(begin, last)
                begin = end
            if begin < mapping.end:
                arena = _is_arena(mapping, after)
                self._add(begin, _region(mapping, before, bases, stack=stack, arena=arena))
            before = mapping

    def of(self, address: int) -> Region:
        """The region that a mapped address lies in."""
        return self._regions[bisect_right(self._begins, address) - 1]

    def _add(self, begin: int, region: Region | None) -> None:
        assert region
        self._begins.append(begin)
        self._regions.append(region)


def is_python(name: str) -> bool:
    """A library's name is that of the interpreter itself."""
    return _PYTHON.match(name) is not None


def _zeros(mapping: Mapping, before: Mapping | None, last: Region | None) -> int:
    """Where the zeros of the library before this mapping end, if it begins with them; else 0."""
    touches = before is not None and before.end == mapping.begin
    if mapping.path or not touches or last is None or last.kind != LIBRARY:
        return 0
    end = -(-(last.base + symbols.read(last.path).end) // PAGE) * PAGE
    return min(end, mapping.end) if end > mapping.begin else 0


def _is_arena(mapping: Mapping, after: Mapping | None) -> bool:
    """A thread's arena fills 64 MiB, with what it has not asked for yet. Python's heap may begin at
    such an address as well."""
    if mapping.begin % ARENA:
        return False
    more = after is not None and after.begin == mapping.end and after.perms.startswith("---")
    return (after.end if more and after else mapping.end) == mapping.begin + ARENA


def _region(
    mapping: Mapping, before: Mapping | None, bases: dict[str, int], *, stack: bool, arena: bool
) -> Region:
    touches = before is not None and before.end == mapping.begin
    if mapping.path == "[heap]":
        return Region(HEAP, "heap (malloc)")
    if mapping.path == "[stack]":
        return Region(STACKS, "stack")
    if mapping.path == backed.PATH:
        return Region(HEAP, "code (moved)")
    if mapping.is_file:
        path = mapping.path
        return Region(LIBRARY, os.path.basename(path), path, bases[path])  # noqa: PTH119
    if mapping.path and not mapping.path.startswith("[anon"):
        return Region(OTHER, mapping.path)
    if arena:
        return Region(ARENAS, "heap of a thread (malloc)")
    guarded = touches and before is not None and before.perms.startswith("---") and not before.path
    if stack or (guarded and before is not None and before.begin % ARENA):
        return Region(STACKS, "stack of a thread")
    return Region(HEAP, "heap (Python)")


def _stack_pointers(pid: int) -> list[int]:
    found = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            words = (task / "syscall").read_text().split()
            # number, six arguments, stack pointer, instruction; "running" while it does not wait
            if len(words) >= 3 and words[-2].startswith("0x"):
                found.append(int(words[-2], 16))
    except OSError:
        pass
    return found

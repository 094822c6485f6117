"""A worker's private pages, in two kinds: those that its zygote has as well, and its own.

Facts this rests on (proc_pid_pagemap(5)): 8 bytes for each page of the address space; bit 63 the
page is present, 62 it is swapped out, 61 it is a file's or shared memory, 56 nobody else maps it
(Linux 4.2). A worker is a clone: what it inherited lies at the same addresses as in its zygote.

    unshared   anonymous, private, and the zygote has a page at that address: a page of the floor
               that the worker wrote to, and so copied. What a better bake could save.
    fresh      anonymous, private, and the zygote has none there: what the worker allocated beyond
               the floor, that is, what it stores and works with.
    file       pages of files that only this process has mapped in: clean, the kernel may drop them.

Their sum is the USS, but for the moment between two reads. Two errors are small and known: memory
of the floor that a worker gave back and got again at the same address counts as unshared, and what
it allocates in the rest of a page of the floor does, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

PAGE = 4096
_PRESENT, _SWAPPED, _FILE, _EXCLUSIVE = (np.uint64(1 << bit) for bit in (63, 62, 61, 56))
_NOTHING = np.uint64(0)

Pages = dict[tuple[int, int], Any]
"""Range of addresses -> an array of flags, one a page."""


class Split(NamedTuple):
    """Bytes of one process."""

    unshared: int
    fresh: int
    file: int


def read_pages(pid: int) -> Pages | None:
    """Every mapping with its pages; None if the process is gone or is not ours to read."""
    found: Pages = {}
    try:
        ranges = [
            tuple(int(word, 16) for word in line.split(maxsplit=1)[0].split("-"))
            for line in Path(f"/proc/{pid}/maps").read_text().splitlines()
            if not line.endswith("[vsyscall]")
        ]
        with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
            for begin, end in ranges:
                pagemap.seek(begin // PAGE * 8)
                data = pagemap.read((end - begin) // PAGE * 8)
                found[begin, end] = np.frombuffer(data, dtype=np.uint64)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return found


def addresses(pages: Pages) -> Any:
    """Page numbers at which a process has a page, sorted."""
    parts = [
        begin // PAGE + np.flatnonzero((flags & (_PRESENT | _SWAPPED)) != _NOTHING)
        for (begin, _), flags in pages.items()
    ]
    return np.sort(np.concatenate(parts)) if parts else np.empty(0, dtype=np.int64)


def split(worker: Pages, of_zygote: Any) -> Split:
    """Sort a worker's private pages by what its zygote has.

    Args:
        of_zygote: `addresses` of the zygote that it was cloned from.
    """
    unshared = fresh = file = 0
    for (begin, _), flags in worker.items():
        private = ((flags & _PRESENT) != _NOTHING) & ((flags & _EXCLUSIVE) != _NOTHING)
        of_files = private & ((flags & _FILE) != _NOTHING)
        file += int(np.count_nonzero(of_files))
        numbers = begin // PAGE + np.flatnonzero(private & ~of_files)
        copied = int(np.count_nonzero(np.isin(numbers, of_zygote, assume_unique=True)))
        unshared += copied
        fresh += len(numbers) - copied
    return Split(unshared * PAGE, fresh * PAGE, file * PAGE)

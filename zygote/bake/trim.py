"""Give free memory back to the kernel.

A free page that stays mapped is a page that children allocate from and so copy; one that was
given back is a fresh page for each, without a copy. The limit on malloc's arenas that held while
baking ends here: the loop starts no thread, and a worker that does may have arenas of its own.
"""

from __future__ import annotations

import mmap

from zygote.bake.stage import Bake, Skipped
from zygote.sys import malloc


def run(_bake: Bake) -> str:
    """malloc_trim, then the default number of arenas again."""
    before = _resident()
    trimmed = malloc.trim()
    malloc.limit_arenas(0)
    if not trimmed:
        raise Skipped("this libc has no malloc_trim")
    return f"{max(0, before - _resident()) / 1e6:.1f} MB given back"


def _resident() -> int:
    """Resident bytes of this process."""
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[1]) * mmap.PAGESIZE

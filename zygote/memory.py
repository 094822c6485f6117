"""For workers: give back what a burst of work left behind.

Freed memory stays with the process: malloc hands it out again, and keeps its pages. A worker that
works in bursts so holds the most that it ever needed. And the interpreter writes to the code that
it runs, counters and caches, which copies pages of the floor. `settle()` between bursts costs a few
milliseconds where the floor is frozen, since the collector then sees the worker's own objects only;
`reshare()`, a part of it, costs microseconds, and a page fault for each page that is written again.
"""

from __future__ import annotations

import gc
import sys
import time
from typing import Any

from zygote.sys import backed, malloc

WORTH_SECONDS = 0.05
"""CPU time since the last time from which on it is worth while."""


class Settler:
    """Settles when there was work in between. Make one after the fork."""

    def __init__(self) -> None:
        self._spent = time.process_time()

    def settle(self, worth: float = WORTH_SECONDS) -> bool:
        """Settle if the process has used so many seconds of CPU since, else only `reshare`.

        Returns:
            Whether it settled.
        """
        if time.process_time() - self._spent < worth:
            reshare()
            return False
        settle()
        self._spent = time.process_time()
        return True


def settle() -> None:
    """Collect our own garbage, give malloc's free pages back to the kernel, and `reshare`.

    See: malloc_trim(3). Where libc has none, nothing is given back.
    """
    gc.collect()
    malloc.trim()
    reshare()


def reshare() -> bool:
    """Share with the zygote again what the interpreter wrote to the code that we ran.

    What it noted there goes back to what the bake had kept (`zygote.bake.keep`). Nothing happens
    outside a baked floor, and while a debugger, a profiler or coverage watches: they note things
    there, too.

    Returns:
        Whether it was done.
    """
    return not _watched() and backed.restore()


def _watched() -> bool:
    monitoring: Any = getattr(sys, "monitoring", None)  # from 3.12
    if monitoring is not None and any(monitoring.get_tool(n) for n in _TOOLS):
        return True
    return bool(sys.gettrace() or sys.getprofile())


_TOOLS = range(6)
"""See: sys.monitoring."""

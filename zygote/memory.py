"""For workers: give back what a burst of work left behind.

Freed memory stays with the process: malloc hands it out again, and keeps its pages. A worker that
works in bursts so holds the most that it ever needed. `settle()` between bursts costs a few
milliseconds where the floor is frozen, since the collector then sees the worker's own objects only.
"""

from __future__ import annotations

import gc
import time

from zygote.sys import malloc

WORTH_SECONDS = 0.05
"""CPU time since the last time from which on it is worth while."""


class Settler:
    """Settles when there was work in between. Make one after the fork."""

    def __init__(self) -> None:
        self._spent = time.process_time()

    def settle(self, worth: float = WORTH_SECONDS) -> bool:
        """Settle if the process has used so many seconds of CPU since; whether it did."""
        if time.process_time() - self._spent < worth:
            return False
        settle()
        self._spent = time.process_time()
        return True


def settle() -> None:
    """Collect our own garbage, and give malloc's free pages back to the kernel.

    See: malloc_trim(3). Where libc has none, nothing is given back.
    """
    gc.collect()
    malloc.trim()
